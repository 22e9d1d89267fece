"""The paper's tables as commands: declared rows and columns, expanded into runs that share their first stages."""
