# Debian guests that are handed their disk: tests/guests/guests.py. The guest is made once.
DEBIAN_GUEST := $(BUILD)/guest/debian-12/guest.json
$(DEBIAN_GUEST): tools/guest/make_debian.py tools/fs.py
	@echo "guest: $@ (Debian packages; some minutes the first time)"
	@$(if $(filter 0,$(shell id -u)),,sudo )tools/guest/make_debian.py --out $(@D)
	@touch $@
guests: $(DEBIAN_GUEST)

test-guests: $(DEBIAN_GUEST) ## boot every Debian guest by the hand-off
	@$(MAKE) --no-print-directory $(BUILD)/linux/handoff $(BUILD)/host/make_record
	@/usr/bin/python3 tests/guests/guests.py $(GUESTS)
.PHONY: test-guests

# Installed Debians on sticks, the firmware's part of the hand-off included: one row a loader, a
# kind of image, a bus. Rounds alternate with QEMU.
test-loaders: firmware-x64 ## boot installed Debians from sticks, every loader and kind of image
	@/usr/bin/python3 tests/guests/run_guests.py $(LOADERS)
.PHONY: test-loaders
