/* Where the firmware's log of TPM events is, for test_boot_tpm.py.
 *
 * The test reads the memory itself and replays the log. What is logged after GetEventLog() was
 * called the first time is in the table of final events as well, which stays where it is when boot
 * services end.  (TCG EFI Protocol Specification, 6.5 and 7)
 */
#include "probe.h"

#include "efi/base/console.h"
#include "efi/base/firmware.h"
#include "q2_line.h"

#define LOG_FORMAT_2 2u

struct tcg2 {
    VOID *GetCapability;
    EFI_STATUS(EFIAPI *GetEventLog)
    (struct tcg2 *This, UINT32 EventLogFormat, EFI_PHYSICAL_ADDRESS *EventLogLocation,
     EFI_PHYSICAL_ADDRESS *EventLogLastEntry, BOOLEAN *EventLogTruncated);
};

static EFI_GUID tcg2_guid = {
    0x607f766c, 0x7455, 0x42be, {0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f}};
static EFI_GUID final_events_guid = {
    0x1e2ed096, 0x30e2, 0x4254, {0xbd, 0x89, 0x86, 0x3b, 0xbe, 0xf8, 0x23, 0x25}};

static uint64_t final_events(void)
{
    const EFI_SYSTEM_TABLE *table = mc_firmware.SystemTable;

    for (UINTN i = 0; i < table->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *entry = &table->ConfigurationTable[i];
        if (__builtin_memcmp(&entry->VendorGuid, &final_events_guid, sizeof(EFI_GUID)) == 0)
            return (uintptr_t)entry->VendorTable;
    }
    return 0;
}

EFI_STATUS probe_tpm(const char *operand)
{
    struct tcg2 *tcg2 = mc_protocol_anywhere(&tcg2_guid);
    EFI_PHYSICAL_ADDRESS first, last;
    BOOLEAN is_cut;
    char buffer[120];
    struct q2_line text = q2_line_start(buffer, sizeof(buffer));

    (void)operand;
    if (!tcg2)
        return probe_say("tpm", "failed: no TPM", 0);
    if (EFI_ERROR(tcg2->GetEventLog(tcg2, LOG_FORMAT_2, &first, &last, &is_cut)) || is_cut)
        return probe_say("tpm", "failed: no whole log", 0);
    q2_line_put(&text, "ok, first ");
    q2_line_put_number(&text, first, 10);
    q2_line_put(&text, " last ");
    q2_line_put_number(&text, last, 10);
    q2_line_put(&text, " final");
    return probe_say("tpm", buffer, final_events());
}
