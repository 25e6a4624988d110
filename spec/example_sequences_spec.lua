--- examples/sequences.lua for a few steps.

--- What the example prints on both streams, and its exit status.
local function run(arguments)
   local pipe = assert(io.popen(("'%s' examples/sequences.lua %s 2>&1"):format(arg[-1] or "lua5.4",
      arguments)))
   local text = pipe:read("a")
   local _, _, status = pipe:close()
   return text, status
end

describe("examples/sequences.lua", function()
   it("trains both twins and measures them beside two ways without training", function()
      local text, status = run("--steps 3 --cell gru")
      assert.equal(0, status, text)
      for _, name in ipairs{ "twin, batches, cosine", "twin, pairs, manhattan", "dynamic time warping",
         "32 points along the path" } do
         local five, twenty, auc, eer = text:match("\n" .. name
            .. " +([%d.]+) %% %+%- [%d.]+ +([%d.]+) %% %+%- [%d.]+ +([%d.]+) +([%d.]+) %%")
         assert.truthy(five, text)
         local chance = name:find("^twin") and 1 or 2 -- geometry needs no training
         assert.is_true(tonumber(five) > 20 * chance and tonumber(twenty) > 5 * chance, text)
         assert.is_true(tonumber(auc) > 0.5 and tonumber(auc) <= 1 and tonumber(eer) < 50, text)
      end
      local one, other = text:match("gesture001: ([%d.]+), of gesture001 and gesture002: ([%d.]+)")
      assert.is_true(tonumber(one) <= 1 and tonumber(other) <= 1)
   end)

   it("says what it doesn't understand", function()
      local text, status = run("--cell rnn")
      assert.equal(2, status)
      assert.truthy(text:find("sequences: --cell must be lstm or gru", 1, true))
      text, status = run("--steps 0")
      assert.equal(2, status)
      assert.truthy(text:find("--steps must be at least 1", 1, true))
   end)
end)
