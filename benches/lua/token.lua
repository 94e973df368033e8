-- Token requests with one client's credentials: FORM is the body.
wrk.method = "POST"
wrk.body = os.getenv("FORM")
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
dofile(os.getenv("REPORT"))
