# metalcow: build, run and test. `make help` lists the targets.
#
# Each folder has its own list of sources and rules (core/core.mk, ...); this file holds what they
# share: compilers, flags, and one rule per build variant:
#
#   host   gcc, optimised, the command that users run            build/host/
#   san    gcc, ASan + UBSan, what the unit tests run            build/san/
#   cov    gcc --coverage, what `make coverage` counts           build/cov/
#   ARCH   firmware: PE32+ for each of FIRMWARE_ARCHS (x64)      build/ARCH/

.DEFAULT_GOAL := all
SHELL         := /bin/bash
.SHELLFLAGS   := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

BUILD ?= build
CC    := gcc
CLANG ?= clang
NM    ?= nm
JOBS  ?= $(shell nproc)

WARN := -Wall -Wextra -Wconversion -Wshadow -Wundef -Wvla -Wswitch-enum -Wstrict-prototypes \
        -Wmissing-prototypes -Werror
COMMON_CFLAGS := -std=c11 $(WARN) -iquote . -Iinclude -MMD -MP

HOST_CFLAGS := $(COMMON_CFLAGS) -O2 -g -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
SAN_FLAGS   := -fsanitize=address,undefined
SAN_CFLAGS  := $(COMMON_CFLAGS) -O1 -g -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(SAN_FLAGS) \
               -fno-sanitize-recover=all -fno-omit-frame-pointer
COV_CFLAGS  := $(COMMON_CFLAGS) -O0 -g -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 --coverage

# Firmware objects: no SysV library, UTF-16 wchar_t; and nobody outside may replace a function of
# ours, so the compiler may look into all of them. efi/arch/ARCH/arch.mk adds the architecture's
# own.
FIRMWARE_ARCHS  ?= x64
FIRMWARE_CFLAGS := $(COMMON_CFLAGS) -O2 -g -ffreestanding -fshort-wchar -fno-stack-protector \
                   -fno-strict-aliasing -fpic -fvisibility=hidden -fcallgraph-info=su \
                   -fno-asynchronous-unwind-tables -DMETALCOW_FIRMWARE
include $(FIRMWARE_ARCHS:%=efi/arch/%/arch.mk)

host_CC     := $(CC)
san_CC      := $(CC)
cov_CC      := $(CC)
host_CFLAGS := $(HOST_CFLAGS)
san_CFLAGS  := $(SAN_CFLAGS)
cov_CFLAGS  := $(COV_CFLAGS)

# Core is freestanding in every variant: same source, same flags, no #ifdef.
CORE_CFLAGS := -ffreestanding

# $(call objects,variant,sources): where the objects of these sources lie.
objects = $(patsubst %.c,$(BUILD)/$(1)/obj/%.o,$(2))

define variant
$(BUILD)/$(1)/obj/%.o: %.c Makefile
	@mkdir -p $$(@D)
	$$($(1)_CC) $$($(1)_CFLAGS) $$(if $$(filter core/%,$$<),$$(CORE_CFLAGS)) \
	    $$(CFLAGS_$$(subst /,_,$$<)) -fstack-usage -c $$< -o $$@
endef
$(foreach v,host san cov $(FIRMWARE_ARCHS),$(eval $(call variant,$(v))))

all: ## build everything, host and firmware
help: ## this list
	@grep -hE '^[a-z][a-z0-9_-]*:.*## ' $(MAKEFILE_LIST) | sort | \
	    sed -E 's/^([a-z0-9_-]+):.*## (.*)/  make \1\t\2/' | expand -t 24
clean: ## remove everything that was built (downloads are kept in build/download)
	find $(BUILD) -mindepth 1 -maxdepth 1 ! -name download -exec rm -rf {} +
.PHONY: all help clean

include core/core.mk drivers/drivers.mk efi/efi.mk tools/tools.mk tests/tests.mk

-include $(shell find /dev/null $(wildcard $(BUILD)/*/obj) -name '*.d')
