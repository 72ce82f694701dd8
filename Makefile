# Vitrine. The first two targets do all the set-up themselves:
#   make run [IMAGE=path]   boots a guest in a window          make check       the tests (a few minutes)
#   make                    builds ./vitrine                   make check-all   with guests and in full length
# MODE=release|debug|asan|ubsan|tsan|cov builds into out/MODE/. GUESTS=DIR names the folder of guest images.
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh
MODE ?= release
GUESTS ?= guests
JOBS ?= $(shell nproc)
export GUESTS MODE
# V=1 shows whole commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo '  $(1)')

OUT := out/$(MODE)

# These do the set-up themselves, or need none.
ifneq ($(filter-out run check check-all fuzz setup clean format check-layers map,$(or $(MAKECMDGOALS),all)),)
include out/config.mk
endif

CFLAGS_release := -O2 -g
CFLAGS_debug := -O0 -g3 -DVITRINE_DEBUG
CFLAGS_asan := -O1 -g -fsanitize=address -fno-omit-frame-pointer
CFLAGS_ubsan := -O1 -g -fsanitize=undefined -fno-sanitize-recover=undefined
CFLAGS_tsan := -O1 -g -fsanitize=thread
CFLAGS_cov := -O0 -g --coverage
ifndef CFLAGS_$(MODE)
$(error MODE=$(MODE) is unknown; use release, debug, asan, ubsan, tsan or cov)
endif
WARNINGS := -Wall -Wextra -Wshadow
ALL_CPPFLAGS := -I. -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DSEABIOS_DIR='"$(SEABIOS_DIR)"' $(LIB_CFLAGS) $(CPPFLAGS)
ALL_CFLAGS := -std=gnu11 $(WARNINGS) -Wstrict-prototypes -Werror=implicit-function-declaration $(CFLAGS_$(MODE)) -fno-strict-aliasing -pthread $(CFLAGS)
ALL_CXXFLAGS := -std=c++17 -isystem /usr/include/imgui $(WARNINGS) $(CFLAGS_$(MODE)) -pthread $(CXXFLAGS)
ALL_LDFLAGS := $(CFLAGS_$(MODE)) -pthread -Wl,--as-needed $(LDFLAGS)
LIBS := $(LIB_LIBS) -limgui -lstb -lstdc++ -lm -ldl

SOURCES := $(filter-out machine/main.c,$(wildcard machine/*.c machine/*/*.c cpu-accel/*.c cpu-accel/*/*.c \
	chipset/*.c chipset/*/*.c storage/*.c storage/*/*.c display/*.c ui/*.c))
SHIMS := $(wildcard ui/*.cpp)
ROM_SOURCES := $(wildcard roms/*.asm)
ROMS := $(ROM_SOURCES:%.asm=$(OUT)/%.rom.o)
OBJECTS := $(SOURCES:%.c=$(OUT)/%.o) $(SHIMS:%.cpp=$(OUT)/%.o) $(ROMS)
LIBRARY := $(OUT)/libvitrine.a

# Suites of `make check`; ALL_SUITES adds the one that needs guests. tests/README.md lists them.
CHECK_SUITES := $(filter-out guests,$(notdir $(patsubst %/,%,$(wildcard tests/*/))))
ALL_SUITES := $(CHECK_SUITES) guests
# tool_*.c are programs that tests run; they are no tests themselves.
TEST_SOURCES := $(wildcard tests/*/test_*.c tests/*/tool_*.c)
TEST_SUPPORT := $(filter-out $(TEST_SOURCES),$(wildcard tests/*/*.c))
TEST_BINARIES := $(TEST_SOURCES:%.c=$(OUT)/%)
GUEST_SOURCES := $(wildcard tests/*/*.asm)
GUEST_BINARIES := $(GUEST_SOURCES:%.asm=$(OUT)/%.bin)
DEPENDENCIES := $(OBJECTS:.o=.d) $(TEST_SOURCES:%.c=$(OUT)/%.d) $(TEST_SUPPORT:%.c=$(OUT)/%.d) $(OUT)/machine/main.d \
	$(GUEST_BINARIES:.bin=.d) $(ROM_SOURCES:%.asm=$(OUT)/%.d)

.PHONY: all vitrine tests run check check-all bench fuzz install uninstall clean format check-layers map setup
.SECONDARY: $(ROM_SOURCES:%.asm=$(OUT)/%.bin)
.DELETE_ON_ERROR:

all: vitrine

out/config.mk: configure
	@./configure && touch $@

setup:
	@./configure --install-deps

# Wherever the set-up is not done yet (or is older than configure), do it, then go on in a fresh make that reads it.
run: | setup
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@sh ui/run-default.sh $(if $(IMAGE),'$(IMAGE)')

check: | setup
	@$(MAKE) --no-print-directory -j$(JOBS) all tests check-layers
	@python3 tests/run.py --out $(OUT) --jobs $(JOBS) $(CHECK_SUITES)

check-all: | setup
	@$(MAKE) --no-print-directory -j$(JOBS) all tests check-layers
	@python3 tests/run.py --out $(OUT) --jobs $(JOBS) --long $(ALL_SUITES)

tests: $(TEST_BINARIES) $(GUEST_BINARIES)

vitrine: $(OUT)/vitrine
	@ln -sfn $(OUT)/vitrine vitrine

$(OUT)/vitrine: $(OUT)/machine/main.o $(LIBRARY)
	$(call say,link    $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@.new $(OUT)/machine/main.o $(LIBRARY) $(LIBS)
	@mv -f $@.new $@ # at once: tests that run beside find the old one or the new one

$(LIBRARY): $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $(OBJECTS)

$(OUT)/%.o: %.c out/config.mk
	@mkdir -p $(@D)
	$(call say,compile $<)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/%.o: %.cpp out/config.mk
	@mkdir -p $(@D)
	$(call say,compile $<)
	$(Q)$(CXX) $(ALL_CPPFLAGS) $(ALL_CXXFLAGS) -MMD -MP -c -o $@ $<

$(OUT)/%.bin: %.asm
	@mkdir -p $(@D)
	$(call say,nasm    $<)
	$(Q)nasm -I $(<D)/ -M -MP -MT $@ -MF $(@:.bin=.d) $<
	$(Q)nasm -f bin -I $(<D)/ -o $@ $<

# Our option ROMs are part of the program, as rom_NAME_start and rom_NAME_end.
$(OUT)/roms/%.rom.o: $(OUT)/roms/%.bin
	@cd $(@D) && ld -r -b binary -z noexecstack -o $*.rom.o $*.bin && \
	objcopy --redefine-sym _binary_$*_bin_start=rom_$*_start --redefine-sym _binary_$*_bin_end=rom_$*_end \
		--strip-symbol=_binary_$*_bin_size $*.rom.o

# A test is one file; support files of its folder are linked from an archive, so that it takes what it names.
define suite_rules
$(OUT)/tests/$(1)/support.a: $(patsubst %.c,$(OUT)/%.o,$(filter tests/$(1)/%,$(TEST_SUPPORT)))
	@mkdir -p $$(@D); rm -f $$@; ar rcs $$@ $$^
$(patsubst %.c,$(OUT)/%,$(filter tests/$(1)/%,$(TEST_SOURCES))): $(OUT)/tests/$(1)/%: $(OUT)/tests/$(1)/%.o $(OUT)/tests/$(1)/support.a $(LIBRARY)
	$$(call say,link    $$@)
	$(Q)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$< $(OUT)/tests/$(1)/support.a $$(LIBRARY) $$(CMOCKA_LIBS) $$(LIBS)
endef
$(foreach suite,$(notdir $(patsubst %/,%,$(wildcard tests/*/))),$(eval $(call suite_rules,$(suite))))

bench: all $(filter $(OUT)/tests/bench/%,$(GUEST_BINARIES))
	@python3 tests/bench/$(or $(BENCH_CASE),run).py --vitrine ./vitrine $(BENCH)

fuzz: | setup
	@sh tests/fuzz/run.sh $(FUZZ)

check-layers:
	@sh tests/check-layers.sh

map:
	@sh docs/make-map.sh >docs/MAP.md

install: all
	install -D $(OUT)/vitrine $(DESTDIR)$(PREFIX)/bin/vitrine
	install -D -m 644 docs/vitrine.1 $(DESTDIR)$(PREFIX)/share/man/man1/vitrine.1

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/vitrine $(DESTDIR)$(PREFIX)/share/man/man1/vitrine.1

clean:
	rm -rf out vitrine

format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cpp')

-include $(DEPENDENCIES)
