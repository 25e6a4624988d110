# siamese: build, test, lint, install. `make help` lists the targets.
#
# Set on the command line or in the environment where the defaults do not fit:
#   BUILD                       where everything is built (build)
#   PREFIX, DESTDIR             where `make install` puts it (/usr/local); INST_LIBDIR, INST_LUADIR
#   LUA, LUA_INCDIR             the interpreter and its headers (5.4; found by pkg-config)
#   OPENBLAS_DIR, _INCDIR, _LIBDIR   where OpenBLAS lies if pkg-config does not know
#   CC, CFLAGS, LDFLAGS, LIBFLAG     the compiler, its optimisation, the linker, a module's kind
#   SIAMESE_DATA                real data for tests (../shared/data); what needs it is skipped without
#   V=1                         prints whole commands
BUILD   ?= build
PREFIX  ?= /usr/local
CC      ?= cc
CFLAGS  ?= -O2 -g
SIAMESE_DATA ?= ../shared/data
override SIAMESE_DATA := $(abspath $(SIAMESE_DATA))
export SIAMESE_DATA

first_command = $(firstword $(foreach c,$(1),$(shell command -v $(c) 2>/dev/null)))
LUA     ?= $(or $(call first_command,lua5.4 lua-5.4 lua54 lua),lua5.4)

# ---- what there is to build with; `make test` and `make quickstart` install what is missing ----
system  := $(shell uname -s)
machine := $(shell $(CC) -dumpmachine 2>/dev/null || uname -m)

pkg_lua := $(shell for p in lua5.4 lua-5.4 lua54 lua; do \
             pkg-config --exists "$$p >= 5.4" 2>/dev/null && echo $$p && break; done)
lua_incdirs := $(patsubst -I%,%,$(if $(pkg_lua),$(shell pkg-config --cflags-only-I $(pkg_lua)))) \
  $(foreach root,/usr/include /usr/local/include /opt/homebrew/include, \
    $(addprefix $(root)/,lua5.4 lua-5.4 lua54 lua) $(root))
LUA_INCDIR ?= $(or $(patsubst %/lua.h,%,$(firstword $(wildcard $(addsuffix /lua.h,$(lua_incdirs))))), \
  /usr/include/lua5.4)
ifneq ($(OPENBLAS_DIR),)
OPENBLAS_INCDIR ?= $(OPENBLAS_DIR)/include
OPENBLAS_LIBDIR ?= $(OPENBLAS_DIR)/lib
endif
BLAS_CFLAGS := $(addprefix -I,$(OPENBLAS_INCDIR)) $(shell pkg-config --cflags openblas 2>/dev/null)
BLAS_LIBS   := $(addprefix -L,$(OPENBLAS_LIBDIR)) \
               $(or $(shell pkg-config --libs openblas 2>/dev/null),-lopenblas)
STB_INCDIR  ?= $(firstword $(patsubst %/stb_image_write.h,%,$(wildcard \
                 $(addsuffix /stb_image_write.h,/usr/include/stb /usr/local/include/stb))) csrc/vendor)

ifeq ($(system),Darwin)
LIBFLAG ?= -bundle -undefined dynamic_lookup
module_flags = -Wl,-exported_symbol,_luaopen_siamese_core
else
LIBFLAG ?= -shared
# Lua unloads C modules when a state closes; parked threads, ours and BLAS's, must survive that.
module_flags = -Wl,-z,nodelete -Wl,--as-needed -Wl,--version-script=csrc/lua/exports.map
endif

# Assertions are for builds with sanitizers: a library must not end the program.
asserts := $(if $(findstring -fsanitize,$(EXTRA_CFLAGS)),,-DNDEBUG)
# Nothing here depends on the machine that builds: files named *_avx2.c and *_avx512.c alone may use
# more than plain x86-64 has, and the core calls them where the processor can.
WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla
base_flags = -std=c11 -D_DEFAULT_SOURCE $(asserts) -fPIC -fvisibility=hidden -pthread $(WARNINGS) \
             -Icsrc -isystem $(STB_INCDIR) $(EXTRA_CFLAGS)
kernel_flags := -O3 -fno-math-errno -fno-trapping-math
ifneq ($(filter x86_64% amd64%,$(machine)),)
avx2_flags   := -mavx2 -mfma
avx512_flags := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
endif

folders  := base kernels tensor ops autograd image io
core_src := $(sort $(wildcard $(folders:%=csrc/%/*.c)))
lua_src  := $(sort $(wildcard csrc/lua/*.c))
core_obj := $(core_src:%.c=$(BUILD)/obj/%.o)
lua_obj  := $(lua_src:%.c=$(BUILD)/obj/%.o)
tests    := $(patsubst csrc/tests/%.c,$(BUILD)/tests/%,$(sort $(wildcard csrc/tests/*_test.c)))
LIB      := $(BUILD)/siamese/core.so

run_env = LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(CURDIR)/?.lua;;" \
          LUA_CPATH="$(abspath $(BUILD))/?.so;;"
found = FOUND_CC="$(CC)" FOUND_LUA="$(LUA)" FOUND_LUA_INCDIR="$(LUA_INCDIR)" \
        FOUND_BLAS_CFLAGS="$(BLAS_CFLAGS)" FOUND_BLAS_LIBS="$(BLAS_LIBS)" MAKE="$(MAKE)"
deps  = $(found) tools/deps.sh

# In the targets that do everything, one job per processor where no -j was given.
parallel = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell getconf _NPROCESSORS_ONLN))
say = $(if $(V),,@echo "  $(1) $(patsubst $(BUILD)/%,%,$@)";)

.PHONY: all help quickstart test test-c test-lua tests lint format asan tsan bench docs install clean \
        deps-check FORCE
.DELETE_ON_ERROR:

all: $(LIB)

help:
	@echo "make             build $(LIB)"
	@echo "make quickstart  install what is missing, build, train a twin on drawn glyphs and test it"
	@echo "make test        install what is missing, build, run all tests"
	@echo "make test-c      the core's tests alone;  make test-lua SPEC=spec/x_spec.lua  Lua's, or some"
	@echo "make lint        luacheck, clang-format, layering, warnings;  make format  formats the C"
	@echo "make asan, tsan  the tests under the sanitizers"
	@echo "make bench       side by side with PyTorch where there is one"
	@echo "make docs        the API reference in $(BUILD)/docs"
	@echo "make install     into PREFIX=$(PREFIX)"
	@echo "make clean       remove $(BUILD)"

# ---- objects; the stamps make changed flags rebuild and changed lists of files relink ----
compile = $(CC) $(CFLAGS) $(base_flags)
link    = $(LDFLAGS) $(BLAS_LIBS) -lm -pthread
stamp   = mkdir -p $(@D) && echo '$(1)' | cmp -s - $@ || echo '$(1)' > $@

$(BUILD)/stamp.compile: FORCE
	@$(call stamp,$(compile) $(BLAS_CFLAGS) $(LUA_INCDIR))
$(BUILD)/stamp.link: FORCE
	@$(call stamp,$(LIBFLAG) $(link) $(core_src) $(lua_src))

$(BUILD)/obj/csrc/lua/%.o: own_flags = -I$(LUA_INCDIR)
pixel_loops := image/reader image/stb io/loader io/pictures
$(pixel_loops:%=$(BUILD)/obj/csrc/%.o): own_flags = $(kernel_flags)
$(BUILD)/obj/csrc/kernels/%.o: own_flags = $(kernel_flags) $(BLAS_CFLAGS) \
    $(if $(filter %_avx2,$*),$(avx2_flags)) $(if $(filter %_avx512,$*),$(avx512_flags))

$(BUILD)/obj/%.o: %.c $(BUILD)/stamp.compile
	@mkdir -p $(@D)
	$(call say,CC  )$(compile) $(own_flags) -MMD -MP -c $< -o $@

$(LIB): $(core_obj) $(lua_obj) $(BUILD)/stamp.link csrc/lua/exports.map
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(CFLAGS) $(EXTRA_CFLAGS) $(LIBFLAG) $(module_flags) -o $@ \
	    $(core_obj) $(lua_obj) $(link)

# ---- tests ----
$(BUILD)/tests/%: $(BUILD)/obj/csrc/tests/%.o $(core_obj) $(BUILD)/stamp.link
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(CFLAGS) $(EXTRA_CFLAGS) -o $@ $< $(core_obj) $(link)

.SECONDARY: $(tests:$(BUILD)/tests/%=$(BUILD)/obj/csrc/tests/%.o)
-include $(core_obj:.o=.d) $(lua_obj:.o=.d) $(tests:$(BUILD)/tests/%=$(BUILD)/obj/csrc/tests/%.d)

tests: $(tests)

test-c: $(tests)
	@tools/run-tests.sh $(TEST_ENV) $(tests)

test-lua: $(LIB)
	@echo "== busted, under $(LUA)"
	@$(run_env) $(TEST_ENV) $(LUA) tools/busted.lua $(BUSTED) $(or $(SPEC),spec)

# Each file of specs in a process of its own, as many at once as -j says: under a sanitizer one process for
# all has a heap that takes long to collect.
specs := $(wildcard spec/*_spec.lua)
.PHONY: test-each $(specs)
test-each: $(specs)
$(specs): $(LIB)
	@echo "== $@, under $(LUA)"
	@$(run_env) $(TEST_ENV) $(LUA) tools/busted.lua $(BUSTED) $@

test:
	@$(deps) build test
	@echo "== build"
	@$(MAKE) --no-print-directory $(parallel) all tests
	@$(MAKE) --no-print-directory test-c
	@$(MAKE) --no-print-directory test-lua

quickstart:
	@$(deps) build run
	@echo "== build"
	@$(MAKE) --no-print-directory $(parallel) all
	@echo "== examples/quickstart.lua: a twin learns drawn glyphs, then recognises ones it never saw"
	@$(run_env) $(LUA) examples/quickstart.lua

asan:
	@$(deps) build test
	@$(found) BUILD="$(BUILD)" tools/sanitize.sh address $(parallel)

tsan:
	@$(deps) build test
	@$(found) BUILD="$(BUILD)" tools/sanitize.sh thread $(parallel)

# ---- lint ----
lint:
	@$(deps) build run lint
	@$(found) BUILD="$(BUILD)" tools/lint.sh $(parallel)

format:
	@$(deps) lint
	clang-format -i $$(find csrc bench -name '*.[ch]' -not -path '*/vendor/*')

# ---- the rest ----
deps-check:
	@$(deps) --check $(SETS)

$(BUILD)/bench/peak: bench/peak.c
	@mkdir -p $(@D)
	$(CC) -O2 -ffp-contract=fast -o $@ $< -pthread

bench: $(LIB) $(BUILD)/bench/peak
	@$(run_env) SIAMESE_PEAK=$(BUILD)/bench/peak $(LUA) bench/run.lua --json $(BUILD)/bench.json $(BENCH)

docs:
	@$(deps) docs
	ldoc -q -c docs/config.ld -d $(abspath $(BUILD))/docs .
	@echo "the API reference is in $(BUILD)/docs/index.html"

INST_LIBDIR ?= $(PREFIX)/lib/lua/5.4
INST_LUADIR ?= $(PREFIX)/share/lua/5.4
install: $(LIB)
	install -d "$(DESTDIR)$(INST_LIBDIR)/siamese"
	install -m 755 $(LIB) "$(DESTDIR)$(INST_LIBDIR)/siamese/core.so"
	@cd lua && find siamese -name '*.lua' | while read -r file; do \
	  install -d "$(DESTDIR)$(INST_LUADIR)/$${file%/*}" && \
	  install -m 644 "$$file" "$(DESTDIR)$(INST_LUADIR)/$$file" || exit 1; done
	@echo "installed in $(DESTDIR)$(INST_LUADIR)/siamese and $(DESTDIR)$(INST_LIBDIR)/siamese"

clean:
	rm -rf $(BUILD)

FORCE:
