NAME = "from a module of it"
