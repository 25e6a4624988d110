--- nn.Embedding: rows by number, their gradients, what is refused.
local siamese = require "siamese"
local support = require "spec.support"

local nn, F = siamese.nn, siamese.nn.functional

describe("nn.Embedding", function()
   it("gives rows by their numbers, from 1, for any shape of input", function()
      local table_of = nn.Embedding{ num_embeddings = 6, embedding_dim = 3 }
      local words = siamese.tensor({ { 6, 1 }, { 2, 6 } }, { dtype = "int64" })
      local y = table_of(words)
      assert.same({ 2, 2, 3 }, y.shape)
      support.close(y[2][1], table_of.weight[2])
      assert.same({ 3 }, table_of(4).shape)
      assert.same({ 2, 3 }, table_of({ 1, 5 }).shape)
      assert.same({ 0, 3 }, table_of(siamese.zeros(0, { dtype = "int64" })).shape)
      assert.equal("Embedding(6, 3)", tostring(table_of))
   end)

   it("begins as N(0, 1)", function()
      siamese.manual_seed(3)
      local weight = nn.Embedding{ num_embeddings = 500, embedding_dim = 40 }.weight:detach()
      assert.near(0, weight:mean():item(), 0.02)
      assert.near(1, weight:std():item(), 0.02)
   end)

   it("leaves the padding's vector alone", function()
      for given, row in pairs{ [2] = 2, [-1] = 4 } do
         local words = nn.Embedding{ num_embeddings = 4, embedding_dim = 3, padding_idx = given }
         support.close(words.weight[row], { 0, 0, 0 })
         words({ 1, 2, 2, 4, 4, 1 }):sum():backward()
         local counts = siamese.tensor{ 2, 2, 0, 2 }
         counts[row] = 0
         support.close(words.weight.grad, counts:unsqueeze(2):expand(4, 3))
         assert.equal(("Embedding(4, 3, padding_idx=%d)"):format(row), tostring(words))
      end
   end)

   it("adds to gradients that are there", function()
      local words = nn.Embedding{ num_embeddings = 3, embedding_dim = 2 };
      (words(1) + words(1) * 3):sum():backward()
      words(3):sum():backward()
      support.close(words.weight.grad, { { 4, 4 }, { 0, 0 }, { 1, 1 } })
   end)

   it("gives the same gradient, bit by bit, on any number of #threads", function()
      siamese.manual_seed(9)
      local threads, first = siamese.get_threads(), nil
      local words = siamese.randint(1, 7, { 3000 })
      local weight, g = siamese.randn({ 7, 130 }, { requires_grad = true }), siamese.randn(3000, 130)
      for _, n in ipairs{ 1, 2, 3, 8 } do
         siamese.set_threads(n)
         weight.grad = nil
         F.embedding(words, weight):backward(g)
         assert.is_true(first == nil or first == weight.grad)
         first = weight.grad
      end
      siamese.set_threads(threads)
      support.close(first, siamese.one_hot(words, 7):t():matmul(g), 1e-4, 1e-4)
   end)

   it("names numbers out of range, and what is no table", function()
      local words = nn.Embedding{ num_embeddings = 6, embedding_dim = 3 }
      support.fails("embedding: index 7 at position 3 is out of range 1..6", words, { 1, 6, 7 })
      support.fails("embedding: index 0 at position 1 is out of range 1..6", words, 0)
      support.fails("expected whole numbers (int64), got 1.5 at element 2", words, siamese.tensor{ 1, 1.5 })
      support.fails("embedding: weight must be 2-D [V,D], got shape [3]", F.embedding, 1, siamese.zeros(3))
      support.fails("embedding: padding_idx 7 is out of range 1..6", F.embedding, 1, words.weight, 7)
      support.fails("nn.Embedding: padding_idx must be an integer from 1 to num_embeddings (6), got 0",
         nn.Embedding, { num_embeddings = 6, embedding_dim = 3, padding_idx = 0 })
      support.fails("nn.Embedding: num_embeddings must be an integer of at least 1, got 0", nn.Embedding,
         { num_embeddings = 0, embedding_dim = 3 })
   end)
end)
