-- Who gets an email: one row for each login, passed on as it is read.
-- Any SELECT that only filters and projects will do; the columns name and email are printed.
-- @title: Logins
SELECT id, name, email, _timestamp
FROM user_events
WHERE action = 'login'
