package main

import (
	"bytes"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	runs "github.com/kelvin-ml/kelvin/run"
)

// A hook is a webhook that refuses the first few posts.
type hook struct {
	mu     sync.Mutex
	refuse []int // statuses
	tries  int
	got    []webhookDocument
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tries++; h.tries <= len(h.refuse) {
		w.WriteHeader(h.refuse[h.tries-1])
		return
	}
	var d webhookDocument
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.got = append(h.got, d)
}

func quickWebhooks(t *testing.T) {
	before := webhookPauses
	webhookPauses = []time.Duration{time.Millisecond, time.Millisecond}
	t.Cleanup(func() { webhookPauses = before })
}

// liveRun is a run that this process writes.
func liveRun(t *testing.T) *runs.Run {
	t.Helper()
	r, err := runs.Create(filepath.Join(t.TempDir(), "run"), struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func appendLoss(t *testing.T, r *runs.Run, step int64, loss float64) {
	t.Helper()
	if err := r.Append(runs.Record{Step: step, Kind: runs.KindStep, Values: map[string]float64{"loss": loss}}); err != nil {
		t.Error(err)
	}
}

func TestWatchFollows(t *testing.T) {
	quickWebhooks(t)
	h := &hook{refuse: []int{503, 429}}
	server := httptest.NewServer(h)
	defer server.Close()
	r := liveRun(t)
	appendLoss(t, r, 1, 2)
	var stdout, stderr bytes.Buffer
	status := make(chan int)
	go func() {
		status <- run([]string{"watch", r.Dir, "--interval", "10ms", "--webhook", server.URL}, &stdout, &stderr)
	}()
	time.Sleep(50 * time.Millisecond)
	appendLoss(t, r, 2, math.Inf(1))
	deadline := time.Now().Add(10 * time.Second)
	for told := 0; told == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		h.mu.Lock()
		told = len(h.got)
		h.mu.Unlock()
	}
	appendLoss(t, r, 3, math.Inf(1)) // the same finding again
	if err := r.Append(runs.Record{Step: 3, Kind: runs.KindEnd}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != exitDone {
		t.Fatalf("status %d: %s", got, stderr.String())
	}
	if len(h.got) != 1 || h.got[0].Step != 2 || h.got[0].Finding.ID != "divergence" || !strings.Contains(h.got[0].Text, "the run has diverged") {
		t.Errorf("the webhook got %+v after %d tries", h.got, h.tries)
	}
	for _, want := range []string{"step 2: critical: divergence", "finished at step 3"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("expected %q in\n%s", want, stdout.String())
		}
	}
}

func TestWatchStopsAtCondition(t *testing.T) {
	r := liveRun(t)
	defer r.Close()
	appendLoss(t, r, 1, math.NaN())
	var stdout, stderr bytes.Buffer
	if got := run([]string{"watch", r.Dir, "--fail-on", "critical", "--json"}, &stdout, &stderr); got != exitFailOn {
		t.Errorf("status %d, expected %d: %s", got, exitFailOn, stderr.String())
	}
	var d struct{ State, Schema string }
	if err := json.Unmarshal(stdout.Bytes(), &d); err != nil || d.State != "running" || d.Schema != schema {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestWatchPyTorch trains with the probe and reads the run: at a learning rate
// of 0.1 it comes to equilibrium, at 0.003 it is still on its way.
func TestWatchPyTorch(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import torch, numpy").Run(); err != nil {
		t.Skipf("SKIP: no PyTorch for %s (Debian: apt-get install python3-torch)", python)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "train.npz")
	var stdout, stderr bytes.Buffer
	if got := run([]string{"data", "make", "digits", "--part", "train", "--out", data}, &stdout, &stderr); got != exitDone {
		t.Fatal(stderr.String())
	}
	for rate, want := range map[string]int{"0.1": exitFailOn, "0.003": exitDone} {
		folder := filepath.Join(dir, rate)
		if out, err := exec.Command(python, "../../examples/pytorch/probe.py", data, folder, "--lr", rate, "--steps", "4000").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		stdout.Reset()
		if got := run([]string{"watch", folder, "--fail-on", "finding", "--json"}, &stdout, &stderr); got != want {
			t.Errorf("learning rate %s: status %d, expected %d\n%s", rate, got, want, stdout.String())
		}
		var d watchDocument
		if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		if d.State != runs.Finished || len(d.Layers) != 3 || d.Layers[0].Parameters != 64*128+128 || d.Layers[0].Dead == nil {
			t.Errorf("%+v", d)
		}
		if want == exitFailOn && (len(d.Findings) != 1 || d.Findings[0].ID != "equilibrium") {
			t.Errorf("%+v", d.Findings)
		}
	}
}

// TestWebhookThatFails: a webhook costs a warning, never the watching.
func TestWebhookThatFails(t *testing.T) {
	quickWebhooks(t)
	for _, test := range []struct {
		refuse []int
		tries  int
		warn   string
	}{
		{[]int{404, 404, 404}, 1, "404 Not Found"},
		{[]int{500, 502, 503, 504}, 3, "503 Service Unavailable"},
	} {
		h := &hook{refuse: test.refuse}
		server := httptest.NewServer(h)
		r := liveRun(t)
		appendLoss(t, r, 1, math.NaN())
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if got := run([]string{"watch", r.Dir, "--webhook", server.URL}, &stdout, &stderr); got != exitDone {
			t.Errorf("status %d", got)
		}
		if h.tries != test.tries || !strings.Contains(stderr.String(), test.warn) {
			t.Errorf("%d tries, warned %q; expected %d and %q", h.tries, stderr.String(), test.tries, test.warn)
		}
		server.Close()
	}
}
