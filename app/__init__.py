"""storegraph: one GraphQL gateway over the four PostgreSQL databases of a shop."""
