/* Measuring what the hand-off adds.
 *
 * May call LocateProtocol() and the TPM's driver; is called while boot services end.
 */
#include "measure.h"

#include "efi/base/firmware.h"

#define EV_IPL     0x0du
#define EVENT_TEXT "metalcow hand-off"

/* EFI_TCG2_EVENT; gnu-efi does not declare the protocol. */
struct tcg2_event {
    UINT32 Size;
    UINT32 HeaderSize;
    UINT16 HeaderVersion;
    UINT32 PCRIndex;
    UINT32 EventType;
    UINT8 Event[sizeof(EVENT_TEXT)];
} __attribute__((packed));
#define HEADER_SIZE 14u /* HeaderSize to EventType */

struct tcg2 {
    VOID *GetCapability, *GetEventLog;
    EFI_STATUS(EFIAPI *HashLogExtendEvent)
    (struct tcg2 *This, UINT64 Flags, EFI_PHYSICAL_ADDRESS DataToHash, UINT64 DataToHashLen,
     const struct tcg2_event *Event);
};

static EFI_GUID tcg2_guid = {
    0x607f766c, 0x7455, 0x42be, {0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f}};

static const struct tcg2_event event = {
    .Size = sizeof(struct tcg2_event),
    .HeaderSize = HEADER_SIZE,
    .HeaderVersion = 1,
    .PCRIndex = MC_MEASURE_PCR,
    .EventType = EV_IPL,
    .Event = EVENT_TEXT,
};

bool mc_measure(const uint8_t *bytes, size_t size)
{
    struct tcg2 *tcg2 = mc_protocol_anywhere(&tcg2_guid);

    return !tcg2 || !EFI_ERROR(tcg2->HashLogExtendEvent(tcg2, 0, (uintptr_t)bytes, size, &event));
}
