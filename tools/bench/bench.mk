# `make bench`: the host's reader beside other readers of the same images.
#
#   make bench BENCH_SIZE=512M     smaller images (default 2G; compressed ones are a sixteenth)
#   make bench BENCH_ROUNDS=9      more rounds (default 5, the fewest)
#
# No part of `make test`: times depend on the machine.

BENCH_SIZE   ?= 2G
BENCH_ROUNDS ?= 5
BENCH        := $(BUILD)/host/metalcow-bench
LIBQCOW_READ := $(BUILD)/host/libqcow-read

BENCH_COMMON_SRCS := tools/bench/meter.c
BENCH_SRCS        := tools/bench/host_bench.c $(BENCH_COMMON_SRCS)

$(BENCH): $(call objects,host,$(BENCH_SRCS) $(CORE_SRCS) $(DRIVERS_HOST_SRCS)) \
          $(THIRD_PARTY_LIB_host)
	@mkdir -p $(@D)
	$(CC) -o $@ $^
$(LIBQCOW_READ): $(call objects,host,tools/bench/libqcow_read.c $(BENCH_COMMON_SRCS))
	@mkdir -p $(@D)
	$(CC) -o $@ $^ -lqcow

CFLAGS_tools_bench_host_bench.c := -I.

bench: ## compare with other readers on the host: CPU time, peak memory (minutes; BENCH_SIZE=512M)
	@tools/setup.sh build bench
	@$(MAKE) --no-print-directory -j$(JOBS) $(BENCH) $(LIBQCOW_READ)
	@tools/bench/host.py --bench $(BENCH) --libqcow $(LIBQCOW_READ) --out $(BUILD)/bench \
	    --size $(BENCH_SIZE) --rounds $(BENCH_ROUNDS) $(BENCH_CASES)

# `make bench-firmware`: our disk under OVMF in QEMU TCG, beside Disk I/O, Block I/O and the file
# system on the same bytes; virtio-blk, AHCI, NVMe, USB. Half an hour; a part of it:
#
#   make bench-firmware BENCH_CASES="64K zstd" BENCH_BUSES=virtio BENCH_SIZE=512M
#
# and beside the program of an older commit, which is built below build/before:
#
#   make bench-firmware BENCH_BEFORE=COMMIT
BENCH_BUSES ?= virtio ahci nvme usb
BENCH_BEFORE ?=

bench-firmware: ## compare ways to the same bytes in firmware (half an hour; BENCH_BUSES=virtio)
	@tools/setup.sh build run bench
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@set -e; before=; for commit in $(BENCH_BEFORE); do \
	    program=$$(tools/bench/build_before.sh $$commit $(BUILD)/before $(BUILD)/download); \
	    before="$$before --before $$(basename $${program%/build/x64/*})=$$program"; \
	done; \
	tools/bench/firmware.py --program $(APPLICATION) --out $(BUILD)/bench --size $(BENCH_SIZE) \
	    --rounds $(BENCH_ROUNDS) $(BENCH_BUSES:%=--bus %) $$before $(BENCH_CASES)
.PHONY: bench bench-firmware
