# core/: the engine. Freestanding; every .c in one of its floors belongs to it.
CORE_SRCS := $(sort $(wildcard core/*/*.c))

# The workspace is the engine's whole memory: the build shows how much of it is used, and
# core/read/disk.h asserts that it fits.
$(BUILD)/host/workspace.txt: $(call objects,host,$(CORE_SRCS))
	@printf '%s\n' '#include "core/read/disk.h"' \
	    'char used[sizeof(struct q2_disk)], size[Q2_WORKSPACE_SIZE];' \
	  | $(CC) -iquote . -Iinclude -x c -c -o $@.o -
	@$(NM) -t d -S $@.o | awk '{ print $$4, $$2 + 0 }' > $@

workspace: $(BUILD)/host/workspace.txt
	@awk '{ n[$$1] = $$2 } \
	  END { printf "workspace per disk: %d of %d bytes used\n", n["used"], n["size"] }' $<
all: workspace
.PHONY: workspace
