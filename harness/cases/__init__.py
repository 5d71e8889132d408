"""Case ids, the case matrix, inputs and recordings. Calls no implementation."""
