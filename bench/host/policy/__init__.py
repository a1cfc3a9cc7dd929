"""Control loops of the host side, one a guest: each looks, decides, acts, and keeps a log of what it did and when."""
