package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kelvin-ml/kelvin/run"
)

// requestOf makes a request with headers, given as names and values.
func requestOf(t *testing.T, method, address, body string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// ask sends a request and returns the status and the body of the answer.
func ask(t *testing.T, method, address, body string, header ...string) (int, string) {
	t.Helper()
	r := requestOf(t, method, address, body, header...)
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// TestSeries compares what is served with what was recorded.
func TestSeries(t *testing.T) {
	root := t.TempDir()
	r, err := run.Create(filepath.Join(root, "a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for step := range 64 {
		x := float64(step % 7)
		sum += (x + 2*x) / 300
		err := r.Append(
			run.Record{Step: int64(step), Kind: run.KindLayer, Layer: "0", Values: map[string]float64{"parameters": 100, "virial": x, "energy_in": 4, "energy_out": 1}},
			run.Record{Step: int64(step), Kind: run.KindLayer, Layer: "1", Values: map[string]float64{"parameters": 200, "virial": 9, "centred_virial": 2 * x}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Append(run.Record{Step: 64, Kind: run.KindStep, Values: map[string]float64{"loss": math.NaN()}}); err != nil {
		t.Fatal(err)
	}
	r.Close()
	address, _ := serve(t, root, "127.0.0.1:0", "")
	series := func(layer, name string) curve {
		status, text := ask(t, "GET", fmt.Sprintf("http://%s/api/series?run=a&layer=%s&name=%s&columns=1", address, layer, name), "")
		var c curve
		if err := json.Unmarshal([]byte(text), &c); status != 200 || err != nil {
			t.Fatalf("%d %s", status, text)
		}
		return c
	}
	near := func(what string, got *float64, want float64) {
		if got == nil || math.Abs(*got-want) > 1e-12 {
			t.Errorf("%s is %v, not %g", what, got, want)
		}
	}
	heat := series("", "temperature")
	near("the temperature, (Σx + Σ2x)/300,", heat.Mean[0], sum/64)
	if heat.StdErr[0] == nil || *heat.StdErr[0] <= 0 {
		t.Error("it has no error")
	}
	near("the temperature of layer 1, about its mean,", series("1", "temperature").Mean[0], sum/64)
	near("the efficiency of layer 0", series("0", "efficiency").Mean[0], 0.75)
	if loss := series("", "loss"); loss.Mean[0] != nil || loss.NotFinite[0] != 1 {
		t.Errorf("a loss that is NaN is served as %+v", loss)
	}
	for query, want := range map[string]int{
		"run=a&name=nothing": 404, "run=b&name=loss": 404, "run=../a&name=loss": 422, "run=/etc&name=loss": 422, "run=a&name=loss&columns=0": 422, "run=a": 422,
		"run=a&name=loss&from=9&to=3": 422, "run=a&name=loss&from=x": 422, "run=a&name=loss&to=1e3": 422, "run=a&name=loss&to=99999999999999999999": 422,
	} {
		if status, text := ask(t, "GET", "http://"+address+"/api/series?"+query, ""); status != want || !strings.Contains(text, "detail") {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	if status, text := ask(t, "GET", "http://"+address+"/api/series.csv?run=a&layer=0&name=virial", ""); status != 200 || !strings.HasPrefix(text, "step (count),virial\n0,0\n1,1\n") || strings.Count(text, "\n") != 65 {
		t.Errorf("%d %s", status, text)
	}
	if status, text := ask(t, "GET", "http://"+address+"/metrics", ""); status != 200 || !strings.Contains(text, `kelvin_run_step{run="a"} 64`) || !strings.Contains(text, `kelvin_runs{state="stopped"} 1`) {
		t.Errorf("%d %s", status, text)
	}
	if status, text := ask(t, "GET", "http://"+address+"/openapi.json", ""); status != 200 || !strings.Contains(text, `"/api/records"`) {
		t.Errorf("%d %s", status, text)
	}
}

const jsonl = "application/x-ndjson"

// TestRecords sends a stream of records in pieces that overlap, come twice, leave
// gaps, and to a server that is started anew between them: what is here in the
// end is the stream.
func TestRecords(t *testing.T) {
	root := t.TempDir()
	address, stop := serve(t, root, "127.0.0.1:0", "")
	create := func() int64 {
		status, text := ask(t, "PUT", "http://"+address+"/api/run?run=far/away", `{"made_by":"test"}`, "Content-Type", "application/json")
		var d offsetDocument
		if err := json.Unmarshal([]byte(text), &d); status != 200 || err != nil {
			t.Fatalf("%d %s", status, text)
		}
		return d.Offset
	}
	send := func(offset int, lines string) (int, offsetDocument, string) {
		status, text := ask(t, "POST", fmt.Sprintf("http://%s/api/records?run=far/away&offset=%d", address, offset), lines, "Content-Type", jsonl)
		var d offsetDocument
		json.Unmarshal([]byte(text), &d)
		return status, d, text
	}
	if status, _, text := send(0, "{}\n"); status != 404 || !strings.Contains(text, "PUT /api/run") {
		t.Errorf("a run that is not there: %d %s", status, text)
	}
	var stream bytes.Buffer
	var ends []int
	for step := range 100 {
		line, err := json.Marshal(run.Record{Time: 1, Step: int64(step), Kind: run.KindStep, Values: map[string]float64{"loss": 1}})
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(append(line, '\n'))
		ends = append(ends, stream.Len())
	}
	all := stream.String()
	if create() != 0 {
		t.Error("a new run is not empty")
	}
	steps := []struct {
		from, to, status, have int
	}{
		{0, ends[9], 200, ends[9]},
		{0, ends[9], 200, ends[9]},         // again: the answer was lost
		{ends[4], ends[19], 200, ends[19]}, // half of it is here
		{ends[29], ends[39], 409, ends[19]},
		{ends[19], ends[49], 200, ends[49]},
	}
	for _, s := range steps {
		if status, d, text := send(s.from, all[s.from:s.to]); status != s.status || d.Offset != int64(s.have) {
			t.Errorf("%+v: %d %s", s, status, text)
		}
	}
	stop()
	// A server that was killed left half a line.
	events := filepath.Join(root, "far", "away", "events.jsonl")
	f, err := os.OpenFile(events, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(all[ends[49] : ends[49]+20])
	f.Close()
	address, _ = serve(t, root, "127.0.0.1:0", "")
	if have := create(); have != int64(ends[49]) {
		t.Errorf("after the restart %d bytes are here, not %d", have, ends[49])
	}
	if status, _, text := send(ends[49], all[ends[49]:]); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	got, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, string(got)); diff != "" {
		t.Error(diff)
	}
	// What is no record, or another's, is refused whole.
	for lines, want := range map[string]string{
		`{"v":1,"t":1,"step":101,"kind":"step"}` + "\nno record\n": "line 2",
		`{"v":1,"t":1,"step":101,"kind":"step"}`:                   "newline",
		`{"v":9,"t":1,"step":101,"kind":"step"}` + "\n":            "version",
	} {
		if status, _, text := send(len(all), lines); status != 422 || !strings.Contains(text, want) {
			t.Errorf("%q: %d %s", lines, status, text)
		}
	}
	if status, _, text := send(0, strings.Replace(all, `"loss":1`, `"loss":2`, 1)); status != 422 || !strings.Contains(text, "another writer") {
		t.Errorf("%d %s", status, text)
	}
	if status, _, _ := send(0, strings.Repeat("x", maxBatch+1)); status != 413 {
		t.Errorf("a batch that is too large: %d", status)
	}
	if status, _ := ask(t, "POST", "http://"+address+"/api/records?run=far/away&offset=0", all); status != 415 {
		t.Errorf("a form of a browser: %d", status)
	}
	for _, id := range []string{"../out", "/abs", "a/../../b", ".hidden", "a/.git", "", ".", "a\\b", "a\x00b"} {
		status, text := ask(t, "PUT", "http://"+address+"/api/run?run="+url.QueryEscape(id), "{}", "Content-Type", "application/json")
		if status != 422 {
			t.Errorf("%q: %d %s", id, status, text)
		}
	}
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if status, text := ask(t, "PUT", "http://"+address+"/api/run?run=link/run", "{}", "Content-Type", "application/json"); status != 422 {
		t.Errorf("through a link: %d %s", status, text)
	}
}

// TestLimits sends too much, too often and to too many runs.
func TestLimits(t *testing.T) {
	address, _ := serve(t, t.TempDir(), "127.0.0.1:0", "")
	home := "http://" + address + "/api/"
	put := func(id, model string) int {
		status, _ := ask(t, "PUT", home+"run?run="+id, model, "Content-Type", "application/json")
		return status
	}
	if status := put("large", `"`+strings.Repeat("x", 1<<20)+`"`); status != 413 {
		t.Errorf("a model.json of a mebibyte: %d", status)
	}
	if status := put("a", "{}"); status != 200 {
		t.Fatalf("a run: %d", status)
	}
	refused := 0
	for range batchBurst + 10 {
		status, _ := ask(t, "POST", home+"records?run=a&offset=0", "", "Content-Type", jsonl)
		switch status {
		case 429:
			refused++
		case 200:
		default:
			t.Fatalf("an empty batch: %d", status)
		}
	}
	if refused == 0 {
		t.Errorf("%d batches at once were taken", batchBurst+10)
	}
	store, err := newStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxOpen {
		store.writers[fmt.Sprint(i)] = &writer{}
	}
	if _, _, err := store.writer("one more"); err == nil || !strings.Contains(err.Error(), "wait until one ends") {
		t.Errorf("one more than %d runs at one time: %v", maxOpen, err)
	}
	if _, _, err := store.writer("0"); err != nil {
		t.Errorf("one of them: %v", err)
	}
}

// TestTemperatures reads the temperature of every run in the list.
func TestTemperatures(t *testing.T) {
	root := t.TempDir()
	writeRich(t, filepath.Join(root, "rich"))
	r := writeRun(t, filepath.Join(root, "cold"), 0)
	r.Close()
	address, _ := serve(t, root, "127.0.0.1:0", "")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		heat := map[string]*float64{}
		for _, item := range told[runList](t, "http://"+address+"/api/runs").Runs {
			heat[item.ID] = item.Temperature
		}
		if x := heat["rich"]; x != nil {
			// Three layers of equal size at 0.3 times 0.01, 0.02 and 0.03.
			if math.Abs(*x-0.006) > 2e-4 || heat["cold"] != nil {
				t.Errorf("got %g and %v", *x, heat["cold"])
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it is never read")
		}
	}
	if _, text := ask(t, "GET", "http://"+address+"/metrics", ""); !strings.Contains(text, `kelvin_run_temperature{run="rich"} 0.00`) {
		t.Error("it is not in the metrics")
	}
}

// TestGuard tries what other pages, other names and other people may not.
func TestGuard(t *testing.T) {
	root := t.TempDir()
	address, stop := serve(t, root, "127.0.0.1:0", "")
	home := "http://" + address
	for _, c := range []struct {
		name   string
		method string
		header []string
		want   int
	}{
		{"plain", "GET", nil, 200},
		{"by name", "GET", []string{"Host", "localhost:1"}, 200},
		{"by name, in capitals", "GET", []string{"Host", "LOCALHOST:1"}, 200},
		{"by its full name", "GET", []string{"Host", "localhost.:1"}, 200},
		{"rebound name", "GET", []string{"Host", "evil.example"}, 421},
		{"other page writes", "PUT", []string{"Origin", "http://evil.example", "Content-Type", "application/json"}, 403},
		{"other page, newer browser", "PUT", []string{"Sec-Fetch-Site", "cross-site", "Content-Type", "application/json"}, 403},
	} {
		if status, text := ask(t, c.method, home+"/api/run"+map[string]string{"GET": "s", "PUT": "?run=x"}[c.method], "{}", c.header...); status != c.want {
			t.Errorf("%s: %d %s", c.name, status, text)
		}
	}
	stop()
	const token = "012 3456789a,b;c\"d&e#f+%/="
	address, _ = serve(t, root, "127.0.0.1:0", token)
	home = "http://" + address
	for header, want := range map[string]int{"": 401, "Bearer " + token: 200, "Bearer 012 3456789a": 401, "Bearer ": 401} {
		if status, _ := ask(t, "GET", home+"/api/runs", "", "Authorization", header); status != want {
			t.Errorf("%q: %d", header, status)
		}
	}
	if status, _ := ask(t, "GET", home+"/", ""); status != 401 {
		t.Errorf("the page without the token: %d", status)
	}
	if status, text := ask(t, "GET", home+"/", "", "Accept", "text/html,*/*"); status != 401 || !strings.Contains(text, `<form action="/"`) || !strings.Contains(text, "KELVIN_TOKEN") {
		t.Errorf("a browser without the token: %d %s", status, text)
	}
	if status, text := ask(t, "GET", home+"/?token=no", "", "Accept", "text/html,*/*"); status != 401 || !strings.Contains(text, "This is not the token") {
		t.Errorf("a browser with another token: %d %s", status, text)
	}
	if status, text := ask(t, "GET", home+"/api/runs", "", "Accept", "*/*"); status != 401 || !strings.Contains(text, `"detail"`) {
		t.Errorf("a script without the token: %d %s", status, text)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := http.Client{Jar: jar} // follows to the page, with the cookie
	answer, err := browser.Get(home + "/?token=" + url.QueryEscape(token))
	if err != nil {
		t.Fatal(err)
	}
	if answer.Body.Close(); answer.StatusCode != 200 || answer.Request.URL.RawQuery != "" {
		t.Errorf("the token in the address: %d at %v", answer.StatusCode, answer.Request.URL)
	}
	for _, bad := range []string{"short", "0123456789abcdef ", "0123456789wörd16"} {
		if _, err := New(root, bad); err == nil {
			t.Errorf("the token %q was taken", bad)
		}
	}
	if _, err := New(filepath.Join(root, "nothing"), ""); err == nil {
		t.Error("a folder that is not there was served")
	}
}

// A gone is a client that went away: it counts the statuses that it is given.
type gone struct {
	header   http.Header
	statuses int
}

func (g *gone) Header() http.Header       { return g.header }
func (g *gone) WriteHeader(int)           { g.statuses++ }
func (g *gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestClientGone answers clients that went away: net/http complains of a second
// status in the log.
func TestClientGone(t *testing.T) {
	root := t.TempDir()
	writeRun(t, filepath.Join(root, "a"), 2000)
	s, err := New(root, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, path := range []string{"runs", "run?run=a", "layers?run=a&name=temperature", "series.csv?run=a&name=loss", "report?run=a", "run?run=none"} {
		g := &gone{header: http.Header{}}
		s.guard(s.mux).ServeHTTP(g, httptest.NewRequestWithContext(ctx, "GET", "http://localhost/api/"+path, nil))
		if g.statuses > 1 {
			t.Errorf("%s: %d statuses", path, g.statuses)
		}
	}
}

// TestCSV streams series in stretches and compares them with the records: one with
// a gap, of derived quantities too.
func TestCSV(t *testing.T) {
	root := t.TempDir()
	r, err := run.Create(filepath.Join(root, "a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*strings.Builder{}
	for _, name := range []string{"loss", "temperature", "efficiency"} {
		want[name] = &strings.Builder{}
	}
	var records []run.Record
	for i := range 5*atOnce + 17 {
		step := int64(i)
		if i > 3*atOnce {
			step += 1 << 40
		}
		x := float64(i % 8)
		records = append(records, run.Record{Time: 1, Step: step, Kind: run.KindStep, Values: map[string]float64{"loss": x}})
		if fmt.Fprintf(want["loss"], "%d,%g\n", step, x); i%3 == 0 {
			records = append(records, run.Record{Time: 1, Step: step, Kind: run.KindLayer, Layer: "0", Values: map[string]float64{"parameters": 4, "virial": x, "energy_in": 8, "energy_out": x}})
			fmt.Fprintf(want["temperature"], "%d,%g\n", step, x/4)
			fmt.Fprintf(want["efficiency"], "%d,%g\n", step, 1-x/8)
		}
	}
	if err := r.Append(records...); err != nil {
		t.Fatal(err)
	}
	r.Close()
	address, _ := serve(t, root, "127.0.0.1:0", "")
	told[runDocument](t, "http://"+address+"/api/run?run=a")
	for name, rows := range want {
		layer := map[string]string{"efficiency": "0"}[name]
		status, text := ask(t, "GET", "http://"+address+"/api/series.csv?run=a&layer="+layer+"&name="+name, "")
		head, got, _ := strings.Cut(text, "\n")
		if status != 200 || !strings.HasPrefix(head, "step (count),") || got != rows.String() {
			t.Errorf("%s: %d, %q, %d bytes, not %d", name, status, head, len(got), rows.Len())
		}
	}
}

// TestBodies sends a body that never ends, more of them than are read at one time.
func TestBodies(t *testing.T) {
	s, err := New(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	s.bodyTime = 300 * time.Millisecond
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- s.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	changes, err := http.Get("http://" + l.Addr().String() + "/api/changes")
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Body.Close()
	var group sync.WaitGroup
	for range 2 * maxBodies {
		group.Go(func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(c, "POST /api/records?run=a&offset=0 HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\nabc", jsonl)
			text, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 408") {
				t.Errorf("%v %.80s", err, text)
			}
		})
	}
	group.Wait()
	if _, err := run.Create(filepath.Join(s.store.root, "new"), nil); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(changes.Body); lines.Scan(); {
		if strings.Contains(lines.Text(), `"new"`) {
			return
		}
	}
	t.Error("the stream of changes ended with them")
}

// TestCreate makes runs where there are others, and of what is no model.json.
func TestCreate(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "plain", "inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	address, _ := serve(t, root, "127.0.0.1:0", "")
	for _, c := range []struct {
		id, model string
		status    int
		says      string
	}{
		{"a", `{"x":1,"y":[2]}`, 200, `"offset":0`},
		{"a", `{ "y": [2], "x": 1 }`, 200, `"offset":0`}, // the answer was lost
		{"a", `{"x":2,"y":[2]}`, 422, "another model.json"},
		{"a/inner", "{}", 422, `\"a\" is a run`},
		{"a/b/c", "{}", 422, `\"a\" is a run`},
		{"plain", "{}", 422, "is not empty: it holds inner"},
		{strings.Repeat("n", 300), "{}", 422, "file name too long"},
		{"b", "null", 422, "object"},
		{"b", "[]", 422, "object"},
		{"b", `"x"`, 422, "object"},
		{"b", "", 400, "body"},
		{"c:d", "{}", 200, "offset"},
	} {
		status, text := ask(t, "PUT", "http://"+address+"/api/run?run="+c.id, c.model, "Content-Type", "application/json")
		if status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%.20s of %s: %d %s", c.id, c.model, status, text)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "b")); err == nil {
		t.Error("a run was made of what is no model.json")
	}
	// A run that was taken away while it was open is made anew.
	if err := os.RemoveAll(filepath.Join(root, "a")); err != nil {
		t.Fatal(err)
	}
	post := func() int {
		status, _ := ask(t, "POST", "http://"+address+"/api/records?run=a&offset=0", `{"v":1,"t":1,"step":0,"kind":"step"}`+"\n", "Content-Type", jsonl)
		return status
	}
	if status := post(); status != 404 {
		t.Errorf("records for a run that was taken away: %d", status)
	}
	if status, text := ask(t, "PUT", "http://"+address+"/api/run?run=a", "{}", "Content-Type", "application/json"); status != 200 || post() != 200 {
		t.Errorf("the run anew: %d %s", status, text)
	}
}

// TestNames serves runs whatever their names, but those that have no address.
func TestNames(t *testing.T) {
	root := t.TempDir()
	names := []string{"2025-11-26T12:00:00", "ünïcode 50%#?&+", "a'b\"c"}
	for _, name := range append(names, "not\xffutf8", `back\slash`) {
		r, err := run.Create(filepath.Join(root, name), nil)
		if err != nil {
			t.Skip(err) // a file system that has no such names
		}
		if err := r.Append(run.Record{Step: 3, Kind: run.KindStep, Values: map[string]float64{"loss": 1}}); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	address, _ := serve(t, root, "127.0.0.1:0", "")
	home := "http://" + address
	list := told[runList](t, home+"/api/runs")
	if len(list.Runs) != len(names) || !strings.Contains(list.Warning, "2 left out") || !strings.Contains(list.Warning, "backslash") {
		t.Errorf("got %+v", list)
	}
	for _, name := range names {
		if d := told[seriesDocument](t, home+"/api/series?name=loss&run="+url.QueryEscape(name)); len(d.Mean) != 1 || d.First[0] != 3 {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if status, text := ask(t, "GET", home+"/metrics", ""); status != 200 || strings.Count(text, "kelvin_run_step{") != len(names) {
		t.Errorf("the metrics: %d %s", status, text)
	}
	if status, text := ask(t, "GET", home+"/api/layers?run=a%27b%22c&name=nope", ""); status != 404 {
		t.Errorf("a quantity that no layer has: %d %s", status, text)
	}
}
