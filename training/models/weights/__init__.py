"""Published weights into our networks, with an account of every one of them."""
