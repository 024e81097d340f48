# Debian guests that are handed their disk. The guest of `make test` is made once; the others when a
# row needs them (tests/guests/rows.py).
DEBIAN_GUEST := $(BUILD)/guest/debian/bookworm-initramfs-tools-cloud-grub.raw
AS_ROOT      := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=BUILD )
$(DEBIAN_GUEST): tools/guest/make_installed.py tools/fs.py
	@echo "guest: $@ (Debian packages; some minutes the first time)"
	@$(AS_ROOT)tools/guest/make_installed.py --loader grub --cache $(@D) --out $@
	@touch $@
guests: $(DEBIAN_GUEST)

# The server alone, started from a kernel that QEMU loads: tests/guests/guests.py.
test-guests: $(DEBIAN_GUEST) ## boot Debian guests by the hand-off's server, faults of every kind
	@$(MAKE) --no-print-directory $(BUILD)/linux/handoff $(BUILD)/host/make_record
	@/usr/bin/python3 tests/guests/guests.py $(GUESTS)

# The whole way, from the firmware on: one row a loader, a kind of image, a bus.
test-loaders: firmware-x64 ## boot installed Debians from sticks, every loader and kind of image
	@$(AS_ROOT)/usr/bin/python3 tests/guests/run_guests.py $(LOADERS)

test-rounds: firmware-x64 ## five times in turns: from a stick, and in QEMU as an ordinary disk
	@$(AS_ROOT)/usr/bin/python3 tests/guests/run_guests.py --only qcow2 --rounds $(or $(ROUNDS),5)

test-cuts: firmware-x64 ## cut guests' power while they write, CUTS times (10), of a SEED
	@$(AS_ROOT)/usr/bin/python3 tests/guests/run_guests.py --cuts $(or $(CUTS),10) \
	    $(if $(SEED),--seed $(SEED))
bench-handoff: firmware-x64 ## measure a handed-over disk in the guest, beside a loop device
	@$(AS_ROOT)/usr/bin/python3 tests/guests/bench.py $(BENCH)
bench-login: firmware-x64 ## measure power-on to login, beside the same guest on a raw disk
	@$(AS_ROOT)/usr/bin/python3 tests/guests/bench_login.py
.PHONY: bench-handoff bench-login test-guests test-loaders test-rounds test-cuts
