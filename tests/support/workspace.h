/* Workspaces for disks under test. */
#ifndef METALCOW_TESTS_WORKSPACE_H
#define METALCOW_TESTS_WORKSPACE_H

/* A workspace of Q2_WORKSPACE_SIZE bytes that holds garbage: a pattern, or what the disk before
 * left in it. Ends the program if there is no memory. */
void *workspace_take(void);

/* The disk is closed. Whoever uses the workspace still is caught by the address sanitizer. NULL:
 * nothing. */
void workspace_give(void *workspace);

#endif
