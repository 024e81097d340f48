# core/: the engine. Freestanding; every .c below this folder belongs to it.
CORE_SRCS := $(sort $(wildcard core/*.c core/format/*.c))
