package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhyAProgramDoesNotStart(t *testing.T) {
	c := startAgent(t)
	plain := filepath.Join(c.base, "plain")
	os.WriteFile(plain, []byte("x"), 0o644)
	for body, code := range map[string]string{
		`{"argv":["no-such-program"],"cwd":"/"}`:                 "command_not_found",
		`{"argv":["` + plain + `"],"cwd":"/"}`:                   "permission_denied",
		`{"argv":["true"],"cwd":"/no/such/place"}`:               "cwd_missing",
		`{"argv":[],"cwd":"/"}`:                                  "bad_request",
		`{"argv":["true"],"cwd":"/","surprise":1}`:               "bad_request",
		`{"argv":["true"],"cwd":"/","stdin":"maybe"}`:            "bad_request",
		`{"argv":["true"],"cwd":"/","output_limit":1}`:           "bad_request",
		`{"argv":["true"],"cwd":"/","timeout_ms":-1}`:            "bad_request",
		`{"argv":["true"],"cwd":"/"} ]`:                          "bad_request",
		`{"argv":["true"],"cwd":"/","env":{"A=B":"x"}}`:          "bad_request",
		`{"argv":["` + strings.Repeat("x", maxArguments) + `"]}`: "too_large",
	} {
		if status, answer := c.call("POST", "/v1/processes", body); status < 400 || !strings.Contains(answer, `"`+code+`"`) {
			t.Errorf("%.80s: %d %.200s, want %s", body, status, answer, code)
		}
	}
}

func TestABackgroundChildDoesNotHoldUpTheEnd(t *testing.T) {
	c := startAgent(t)
	began := time.Now()
	got := c.run(shell("(sleep 3; echo late; touch survived) & echo early"))
	if string(got.out) != "early\n" || got.exit == nil || time.Since(began) > 2*time.Second {
		t.Errorf("%q after %v", got.out, time.Since(began))
	}
	c.await("the child that prints late gets no SIGPIPE", func() bool {
		_, err := os.Stat(filepath.Join(c.base, "survived"))
		return err == nil
	})
}
