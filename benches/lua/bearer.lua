-- GET /orders/42 with the tokens of the file TOKENS in turn, beginning at line SKIP.
local requests, at = {}, tonumber(os.getenv("SKIP") or "0")
function init()
  for token in io.lines(os.getenv("TOKENS")) do
    requests[#requests + 1] = wrk.format("GET", "/orders/42", {Host = "orders.shop.svc", Authorization = "Bearer " .. token})
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
dofile(os.getenv("REPORT"))
