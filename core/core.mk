# core/: the engine. Freestanding; every .c below this folder belongs to it.
CORE_SRCS := $(sort $(wildcard core/*.c core/format/*.c))

# The workspace is the engine's whole memory: the build shows how much of it is used, core/disk.h
# asserts that it fits.
$(BUILD)/host/workspace.txt: $(call objects,host,$(CORE_SRCS))
	@printf '#include "core/disk.h"\nchar used[sizeof(struct q2_disk)], size[Q2_WORKSPACE_SIZE];\n' \
	  | $(CC) -I. -Iinclude -x c -c -o $@.o -
	@$(NM) -t d -S $@.o | awk '{ print $$4, $$2 + 0 }' > $@

workspace: $(BUILD)/host/workspace.txt
	@awk '{ n[$$1] = $$2 } \
	  END { printf "workspace per disk: %d of %d bytes used\n", n["used"], n["size"] }' $<
all: workspace
.PHONY: workspace
