"""The live parts of a page and the web socket that feeds them."""
