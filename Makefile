# siamese: build, test, lint, install. `make help` lists the targets.
#
# Set on the command line or in the environment where the defaults do not fit:
#   BUILD                  where everything is built (build)
#   PREFIX, DESTDIR        where `make install` puts it (/usr/local); INST_LIBDIR, INST_LUADIR
#   LUA, LUA_INCDIR        the interpreter and its headers (lua5.4; found by pkg-config)
#   OPENBLAS_DIR, _INCDIR, _LIBDIR   where OpenBLAS lies if pkg-config does not know
#   CFLAGS, LDFLAGS, LIBFLAG         added to or used in place of the defaults
BUILD   ?= build
PREFIX  ?= /usr/local
CC      ?= cc
CFLAGS  ?= -O2 -g
LUA     ?= $(shell command -v lua5.4 || command -v lua-5.4 || command -v lua54 || command -v lua || echo lua5.4)
BUSTED  ?= $(shell command -v busted || echo busted)
SIAMESE_DATA ?= ../shared/data
export SIAMESE_DATA

uname_s := $(shell uname -s)
machine := $(shell $(CC) -dumpmachine 2>/dev/null || uname -m)

# ---- what we build with ----
LUA_PC     := $(shell for p in lua5.4 lua-5.4 lua54; do pkg-config --exists $$p 2>/dev/null && echo $$p && break; done)
LUA_INCDIR ?= $(firstword $(patsubst -I%,%,$(shell pkg-config --cflags-only-I $(LUA_PC) 2>/dev/null)) /usr/include/lua5.4)
ifneq ($(OPENBLAS_DIR),)
OPENBLAS_INCDIR ?= $(OPENBLAS_DIR)/include
OPENBLAS_LIBDIR ?= $(OPENBLAS_DIR)/lib
endif
BLAS_CFLAGS := $(if $(OPENBLAS_INCDIR),-I$(OPENBLAS_INCDIR)) $(shell pkg-config --cflags openblas 2>/dev/null)
BLAS_LIBS   := $(if $(OPENBLAS_LIBDIR),-L$(OPENBLAS_LIBDIR)) $(or $(shell pkg-config --libs openblas 2>/dev/null),-lopenblas)
STB_DIR     := $(firstword $(wildcard /usr/include/stb /usr/local/include/stb) csrc/vendor)

ifeq ($(uname_s),Darwin)
LIBFLAG ?= -bundle -undefined dynamic_lookup
else
LIBFLAG ?= -shared
# Parked threads and BLAS' own must survive lua_close, which unloads C modules.
keep_loaded := -Wl,-z,nodelete -Wl,--as-needed
endif

WARNINGS := -Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla
BASE := -std=c11 -D_DEFAULT_SOURCE -fPIC -fvisibility=hidden -pthread $(WARNINGS) \
        -Icsrc -isystem $(STB_DIR) $(EXTRA_CFLAGS)
KERNEL := -O3 -fno-math-errno -fno-trapping-math
ifneq ($(filter x86_64%,$(machine)),)
AVX2   := -mavx2 -mfma
AVX512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
endif

core_src := $(wildcard $(addsuffix /*.c,$(addprefix csrc/,base kernels tensor ops autograd image io)))
lua_src  := $(wildcard csrc/lua/*.c)
core_obj := $(core_src:%.c=$(BUILD)/obj/%.o)
lua_obj  := $(lua_src:%.c=$(BUILD)/obj/%.o)
tests    := $(patsubst csrc/tests/%.c,$(BUILD)/tests/%,$(wildcard csrc/tests/*_test.c))
modules  := $(shell find lua -name '*.lua' 2>/dev/null)
LIB      := $(BUILD)/siamese/core.so

RUN_ENV = LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(CURDIR)/?.lua;;" \
          LUA_CPATH="$(abspath $(BUILD))/?.so;;"

.PHONY: all help quickstart test test-c test-lua lint format asan tsan bench docs install clean deps FORCE
.DELETE_ON_ERROR:

all: $(LIB)

help:
	@echo "make            build $(LIB)"
	@echo "make quickstart install what is missing, build, train and test a twin on drawn glyphs"
	@echo "make test       install what is missing, build, run all tests (test-c, test-lua: a part)"
	@echo "make lint       luacheck, clang-format, layering, warnings as errors; make format applies"
	@echo "make asan, tsan the tests under the sanitizers"
	@echo "make bench      side by side with PyTorch where there is one"
	@echo "make docs       the API reference in $(BUILD)/docs"
	@echo "make install    into PREFIX=$(PREFIX);  make clean"

# ---- objects; a change of flags rebuilds ----
flags := $(CC) $(CFLAGS) $(BASE) $(BLAS_CFLAGS) $(LUA_INCDIR)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(flags)' | cmp -s - $@ || echo '$(flags)' > $@

$(BUILD)/obj/csrc/lua/%.o: csrc/lua/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(BASE) -I$(LUA_INCDIR) -MMD -MP -c $< -o $@

$(BUILD)/obj/csrc/kernels/%_avx2.o: isa = $(AVX2)
$(BUILD)/obj/csrc/kernels/%_avx512.o: isa = $(AVX512)
$(BUILD)/obj/csrc/kernels/%.o: csrc/kernels/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(BASE) $(KERNEL) $(isa) $(BLAS_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(BASE) -MMD -MP -c $< -o $@

-include $(core_obj:.o=.d) $(lua_obj:.o=.d)

$(LIB): $(core_obj) $(lua_obj)
	@mkdir -p $(@D)
	$(CC) $(LIBFLAG) $(keep_loaded) $(LDFLAGS) $(EXTRA_CFLAGS) -o $@ $^ $(BLAS_LIBS) -lm -pthread

# ---- tests ----
$(BUILD)/tests/%: csrc/tests/%.c csrc/tests/test.h $(core_obj)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(BASE) -o $@ $< $(core_obj) $(LDFLAGS) $(BLAS_LIBS) -lm -pthread

test-c: $(tests)
	@tools/run-tests.sh $(tests)

test-lua: $(LIB)
	@echo "== busted under $(LUA)"
	@$(RUN_ENV) $(TEST_ENV) $(LUA) tools/busted.lua $(BUSTED_FLAGS) $(or $(SPEC),spec)

test:
	@tools/deps.sh build test
	@$(MAKE) --no-print-directory all test-c test-lua

quickstart:
	@tools/deps.sh build run
	@echo "== building"
	@$(MAKE) --no-print-directory all
	@echo "== examples/quickstart.lua: a twin learns glyphs, and recognises ones it has never seen"
	@$(RUN_ENV) $(LUA) examples/quickstart.lua

# ---- sanitizers ----
asan:
	@tools/deps.sh build test
	@tools/sanitize.sh address

tsan:
	@tools/deps.sh build test
	@tools/sanitize.sh thread

# ---- lint ----
c_files := $(shell find csrc bench -name '*.[ch]' -not -path '*/vendor/*' 2>/dev/null)
lint:
	@tools/deps.sh build lint
	@tools/lint.sh "$(BUILD)"

format:
	clang-format -i $(c_files)

# ---- the rest ----
$(BUILD)/bench/peak: bench/peak.c
	@mkdir -p $(@D)
	$(CC) -O2 -ffp-contract=fast -o $@ $< -pthread

bench: $(LIB) $(BUILD)/bench/peak
	@$(RUN_ENV) SIAMESE_PEAK=$(BUILD)/bench/peak $(LUA) bench/run.lua --json $(BUILD)/bench.json $(BENCH)

docs:
	@tools/deps.sh docs
	ldoc -q -c docs/config.ld -d $(BUILD)/docs lua

INST_LIBDIR ?= $(PREFIX)/lib/lua/5.4
INST_LUADIR ?= $(PREFIX)/share/lua/5.4
install: $(LIB)
	install -d "$(DESTDIR)$(INST_LIBDIR)/siamese"
	install -m 755 $(LIB) "$(DESTDIR)$(INST_LIBDIR)/siamese/core.so"
	@cd lua && find . -name '*.lua' | while read -r f; do \
	  install -d "$(DESTDIR)$(INST_LUADIR)/$$(dirname "$$f")" && \
	  install -m 644 "$$f" "$(DESTDIR)$(INST_LUADIR)/$$f"; done
	@echo "installed in $(DESTDIR)$(INST_LUADIR) and $(DESTDIR)$(INST_LIBDIR)"

clean:
	rm -rf $(BUILD)

FORCE:
