# Sources and rules of drivers/.
include drivers/codec.mk
