/** Door for sibling packages of @restitch/channel. */
export {};
