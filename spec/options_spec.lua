--- Options tables: what is unknown, missing or of the wrong kind is named.
local options = require "siamese.options"
local support = require "spec.support"

local spec = { size = options.required, stride = 1, bias = true, name = options.optional }

--- A constructor such as users call.
local function make(given)
   local o = options.check("thing", given, spec)
   return o
end

describe("options.check", function()
   it("fills in the defaults and leaves optional ones out", function()
      local o = make{ size = 3 }
      assert.equal(3, o.size)
      assert.equal(1, o.stride)
      assert.is_true(o.bias)
      assert.is_nil(o.name)
   end)

   it("keeps false where true is the default", function()
      assert.is_false(make{ size = 3, bias = false }.bias)
   end)

   it("does not write into the table it was given", function()
      local given = { size = 3 }
      make(given)
      assert.same({ size = 3 }, given)
   end)

   it("names an unknown option and the nearest known one", function()
      support.fails("thing: unknown option 'strid' (did you mean 'stride'?)", make,
         { size = 3, strid = 2 })
   end)

   it("lists the options where none is near", function()
      support.fails("thing: unknown option 'qwertyuiop' (options: bias, name, size, stride)", make,
         { size = 3, qwertyuiop = 2 })
   end)

   it("says what a positional value is taken for", function()
      support.fails("thing: unknown option '1'", make, { 7 })
   end)

   it("names a required option that is missing", function()
      support.fails("thing: option 'size' is required", make, {})
      support.fails("thing: option 'size' is required", make, nil)
   end)

   it("rejects what is no table", function()
      support.fails("thing: expected a table of options, got number", make, 5)
   end)

   it("blames the line that calls the constructor", function()
      local ok, message = pcall(function()
         local o = make{}
         return o
      end)
      assert.is_false(ok)
      assert.matches("options_spec.lua:%d+: thing", message)
   end)
end)

describe("kinds of options", function()
   local function checker(method, ...)
      local extra = { ... }
      return function(value)
         options[method]("thing", { x = value }, "x", table.unpack(extra))
      end
   end

   it("are counts", function()
      local check = checker("check_count", 1)
      check(1)
      support.fails("thing: x must be an integer of at least 1, got 0", check, 0)
      support.fails("x must be an integer of at least 1, got 1.5", check, 1.5)
      support.fails("x must be an integer of at least 1, got nil", check, nil)
   end)

   it("are numbers in a range, and NaN is in none", function()
      local check = checker("check_number", 0, 1)
      check(0.5)
      support.fails("thing: x must be a number from 0 to 1, got 2", check, 2)
      assert.has_error(function()
         check(0 / 0)
      end)
   end)

   it("are booleans", function()
      local check = checker("check_boolean")
      check(false)
      support.fails("thing: x must be true or false, got yes", check, "yes")
   end)

   it("are pairs", function()
      assert.same({ 3, 3 }, options.check_pair("thing", { x = 3 }, "x", 1))
      assert.same({ 3, 5 }, options.check_pair("thing", { x = { 3, 5 } }, "x", 1))
      local check = checker("check_pair", 1)
      support.fails("or a table of two such, got {3, 0}", check, { 3, 0 })
      support.fails("or a table of two such, got {3}", check, { 3 })
      support.fails("or a table of two such, got {1, 2, 3}", check, { 1, 2, 3 })
   end)

   it("are choices", function()
      local check = checker("check_choice", { "a", "b" })
      check("b")
      support.fails("thing: x must be 'a' or 'b', got 'c'", check, "c")
   end)
end)
