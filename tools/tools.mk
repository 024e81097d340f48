# Sources and rules of tools/: the guest, the stick, `make run`.

GUEST_ROOT   := $(BUILD)/guest/root
GUEST_SCRIPT := tools/guest/make_guest.py tools/guest/init.sh tools/fs.py
IMAGE_SCRIPT := tools/guest/make_image.py tools/fs.py
STICK_SCRIPT := tools/stick/make_stick.py tools/stick/fragments.py tools/fs.py

# The application that goes onto the stick of `make run`, and what it is told there.
APPLICATION ?= $(BUILD)/x64/metalcow.efi
RUN_STICK   := $(BUILD)/stick/run.img
RUN_IMAGE   := $(BUILD)/images/grub/data-file/debian.qcow2
RUN_ENTRY   := title Debian\nimage /img/debian.qcow2\n

# The guest's parts are files of setup's; a disk is newer than the kernel on it.
$(BUILD)/guest/%.raw: $(GUEST_SCRIPT)
	@echo "guest: $@"
	@tools/guest/make_guest.py --root $(GUEST_ROOT) --loader $* --out $@

$(BUILD)/guest/aa64/%.raw: $(GUEST_SCRIPT)
	@echo "guest: $@"
	@tools/guest/make_guest.py --root $(GUEST_ROOT)-aa64 --arch aa64 --loader $* --out $@

$(RUN_IMAGE): $(BUILD)/guest/grub.raw $(IMAGE_SCRIPT)
	@echo "image: $@"
	@tools/guest/make_image.py --variant data-file --raw $< --out $(@D) >/dev/null

$(RUN_STICK): $(APPLICATION) $(RUN_IMAGE) $(STICK_SCRIPT) tools/tools.mk
	@echo "stick: $@"
	@tools/stick/make_stick.py --out $@ --file $(APPLICATION)=/EFI/BOOT/BOOTX64.EFI \
	    --file $(dir $(RUN_IMAGE))=/img --text '/metalcow/entries/debian.conf=$(RUN_ENTRY)'

setup: ## install what building, running and testing needs
	@tools/setup.sh
run: ## boot a guest from a qcow2 image on a stick, under QEMU
	@tools/setup.sh build run
	@$(MAKE) --no-print-directory -j$(JOBS) all $(RUN_STICK)
	@tools/qemu/boot_guest.py --stick $(RUN_STICK) --guest $(BUILD)/guest/grub.json
guests: $(BUILD)/guest/grub.raw $(BUILD)/guest/systemd-boot.raw ## make the guest disks

# README's picture. Committed: a reader of the repository has no QEMU at hand.
picture: $(APPLICATION) $(RUN_IMAGE) ## take the picture in README again
	@tools/stick/make_stick.py --out $(BUILD)/stick/picture.img \
	    --file $(APPLICATION)=/metalcow.efi --file $(dir $(RUN_IMAGE))=/img
	@tools/qemu/picture.py --stick $(BUILD)/stick/picture.img --out tools/qemu/boot.png
.PHONY: setup run guests picture

# The host command: build/host/metalcow for users, build/san/metalcow for the tests.
METALCOW_VERSION := 0.1
METALCOW_SRCS    := $(sort $(wildcard tools/metalcow/*.c tools/metalcow/*/*.c))
METALCOW_CFLAGS  := -DMETALCOW_VERSION='"$(METALCOW_VERSION)"'
$(foreach src,$(METALCOW_SRCS),$(eval CFLAGS_$(subst /,_,$(src)) := $(METALCOW_CFLAGS)))

# $(call metalcow_program,variant,linker flags)
define metalcow_program
$(BUILD)/$(1)/metalcow: \
    $$(call objects,$(1),$$(METALCOW_SRCS) $$(CORE_SRCS) $$(DRIVERS_HOST_SRCS) $$(ENCODER_SRCS)) \
    $$(THIRD_PARTY_ENCODERS_$(1)) $$(THIRD_PARTY_LIB_$(1))
	@mkdir -p $$(@D)
	$$(CC) $(2) -pthread -o $$@ $$^
endef
$(eval $(call metalcow_program,host,))
# The tests start it thousands of times, and without relocations it starts in three quarters of the
# time.
$(eval $(call metalcow_program,san,-no-pie $(SAN_FLAGS)))
$(eval $(call metalcow_program,cov,--coverage))

all: $(BUILD)/host/metalcow
san: $(BUILD)/san/metalcow

include tools/bench/bench.mk tools/example/example.mk
include tools/handoff/handoff.mk
