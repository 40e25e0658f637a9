"""What the tests share: the world of real servers, and stand-ins where a server is not the subject."""
