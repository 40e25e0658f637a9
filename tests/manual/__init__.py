"""The commands of the manual's pages are typed as they stand there, in their order."""
