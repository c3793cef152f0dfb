"""What stands between the internet and the page: settings, limits of connections, headers, and how the server ends."""
