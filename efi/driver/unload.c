/* Unloading the driver: first what can be refused, then what cannot.
 *
 * May call the registry and what installs the driver's protocols. Invariant: while anything can
 * still be refused, every disk keeps its files open, so that it can come back.
 */
#include "unload.h"

#include "binding.h"
#include "control_server.h"
#include "efi/base/console.h"
#include "efi/handoff/handoff.h"
#include "detach_disk.h"

static EFI_STATUS uninstall_protocols(EFI_HANDLE ImageHandle)
{
    EFI_STATUS status = mc_control_uninstall(ImageHandle);

    if (EFI_ERROR(status))
        return status;
    status = mc_binding_uninstall(ImageHandle);
    if (EFI_ERROR(status))
        (void)mc_control_install(ImageHandle);
    return status;
}

EFI_STATUS EFIAPI mc_unload(EFI_HANDLE ImageHandle)
{
    struct q2_fault fault;

    if (EFI_ERROR(mc_disks_suspend(&fault))) {
        mc_say_fault(&fault);
        return EFI_ACCESS_DENIED;
    }
    if (EFI_ERROR(uninstall_protocols(ImageHandle))) {
        mc_disks_resume();
        mc_say("the firmware does not let go of the driver's protocols, so it is not unloaded");
        return EFI_ACCESS_DENIED;
    }
    mc_disks_close();
    mc_handoff_stop();
    return EFI_SUCCESS;
}
