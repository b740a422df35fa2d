/** Door for sibling packages of @restitch/sys. */
export {};
