/* The application's way to the resident driver.
 *
 * The driver is the one that is loaded already, or the copy that the application carries, started
 * now. Under Secure Boot the copy is checked like any image that is loaded: it must be signed
 * before it is put in.
 */
#ifndef METALCOW_EFI_CONTROL_CLIENT_H
#define METALCOW_EFI_CONTROL_CLIENT_H

#include "efi/base/control.h"

struct mc_client {
    struct mc_control *control;
    EFI_HANDLE driver; /* what this program loaded; NULL: it was there before */
};

/* Find the driver, or start it if load is true.
 *
 * Q2_ERR_NOT_FOUND    not there, and load is false
 * Q2_ERR_VERSION      another version of it is loaded
 * Q2_ERR_UNTRUSTED    the firmware does not start the copy (Secure Boot)
 * Q2_ERR_LIMIT, Q2_ERR_IO   it does not start
 */
enum q2_status mc_client_open(struct mc_client *client, bool load, struct q2_fault *fault);

/* The same as mc_client_open() with load, but a driver of another version is unloaded with its
 * disks before. For a boot: what was installed on a stick stays when the application there is
 * replaced.
 *
 * Q2_ERR_VERSION      it does not let itself be unloaded
 */
enum q2_status mc_client_replace(struct mc_client *client, struct q2_fault *fault);

/* Unload the driver, with its disks, if this program loaded it. */
void mc_client_unload(struct mc_client *client);

#endif
