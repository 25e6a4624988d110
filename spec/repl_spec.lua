--- A newcomer's REPL: `lua5.4 -l siamese`, driven through a pipe.
local lua = arg and arg[-1] and arg[-1]:match("lua") and arg[-1] or "lua5.4"

--- What an interactive session prints, given its input lines.
local function session(lines)
   local script, output = os.tmpname(), os.tmpname()
   local file = assert(io.open(script, "w"))
   file:write(table.concat(lines, "\n"), "\n")
   file:close()
   os.execute(("%s -l siamese -i < %s > %s 2>&1"):format(lua, script, output))
   file = assert(io.open(output))
   local text = file:read("a")
   file:close()
   os.remove(script)
   os.remove(output)
   return text
end

describe("a session", function()
   it("prints tensors, modules and twins", function()
      local text = session{
         "siamese.tensor{{1, 2.5}, {-3, 4}}",
         "net = siamese.nn.Sequential{ siamese.nn.Linear{ in_features = 4, out_features = 2 } }",
         "net",
         "siamese.Twin{ encoder = net, distance = 'l2' }",
         "net(siamese.zeros(3, 4)).shape[2]",
      }
      assert.matches("tensor([[ 1.0000,  2.5000],\n        [-3.0000,  4.0000]]) float32 [2,2]", text, 1, true)
      assert.matches("Linear", text, 1, true)
      assert.matches("Twin", text, 1, true)
      assert.matches("\n2\n", text, 1, true)
   end)

   it("explains errors and goes on", function()
      local text = session{
         "siamese.nn.Conv2d{ in_channels = 1, out_channels = 8, kernel = 3 }",
         "siamese.zeros(2, 3):matmul(siamese.zeros(2, 3))",
         "siamese.zeros(2, 3) + siamese.zeros(4)",
         "siamese.zeros(2).shappe",
         "print('still', 'here')",
      }
      assert.matches("kernel", text, 1, true)
      assert.matches("matmul: ", text, 1, true)
      assert.matches("add: shapes [2,3] and [4] do not broadcast", text, 1, true)
      assert.matches("no field or method 'shappe'", text, 1, true)
      assert.matches("still\there", text, 1, true)
   end)

   it("needs no more than a line for help on what there is", function()
      local text = session{ "for name in pairs(siamese) do io.write(name, ' ') end" }
      for _, name in ipairs{ "nn", "Twin", "losses", "optim", "data", "image", "augment", "metrics" } do
         assert.matches(name .. " ", text, 1, true)
      end
   end)
end)
