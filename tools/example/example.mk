# An example of a program that only reads. It is linked against an archive of the engine, so that
# only the objects that it needs come in: none above core/read/.
READ_IMAGE  := $(BUILD)/host/read_image
CORE_LIB    := $(BUILD)/host/libmetalcow_core.a

$(CORE_LIB): $(call objects,host,$(CORE_SRCS))
	@rm -f $@
	$(AR) qcs $@ $^

$(READ_IMAGE): $(call objects,host,tools/example/read_image.c) $(CORE_LIB)
	$(CC) -o $@ $^

all: $(READ_IMAGE)
