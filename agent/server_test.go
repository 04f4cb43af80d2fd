package main

import (
	"errors"
	"strings"
	"testing"
)

func FuzzRequests(f *testing.F) {
	f.Add(`{"argv":["true"],"env":{"A":"b"},"timeout_ms":1}`)
	f.Add(`{"changes":[{"op":"write","path":"a","content":"eA=="}]}`)
	f.Add(`{"argv":1}{"argv":[]}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, into := range []any{&startRequest{}, &applyRequest{}, &setupRequest{}, &readManyRequest{}, &signalRequest{}, &winsize{}} {
			err := decode(strings.NewReader(text), into)
			var own *apiError
			if err != nil && !errors.As(err, &own) {
				t.Fatalf("%T: %v is no answer of the protocol", into, err)
			}
		}
	})
}

func TestWhatTheAgentDoesNotKnowIsAnsweredInItsOwnForm(t *testing.T) {
	_, h := testAgent(t)
	for target, want := range map[string]string{
		"GET /v2/health": "unknown_route", "PATCH /v1/health": "unknown_route",
		"GET /v1/files/list?limit=0": "bad_request", "GET /v1/files/list?limit=x": "bad_request",
		"GET /v1/files/stat?path=none": "not_found", "GET /v1/files/list?path=../x": "outside_workspace",
		"GET /v1/processes/p1": "not_found",
	} {
		method, path, _ := strings.Cut(target, " ")
		r := call(h, method, path, nil)
		if r.Code < 400 || !strings.Contains(r.Body.String(), `"code":"`+want+`"`) {
			t.Errorf("%s: %d %s", target, r.Code, r.Body)
		}
	}
}
