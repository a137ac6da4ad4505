package web

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kelvin-ml/kelvin/run"
)

var (
	long    = flag.Bool("long", false, "run the long tests")
	seconds = flag.Int("seconds", 15, "how long the long test sends records")
)

// heap returns the memory in use, in MiB.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// TestLoad sends 10,000 records a second while a page looks at the run.
func TestLoad(t *testing.T) {
	if !*long {
		t.Skip("needs -long: seconds as given by -seconds")
	}
	ctx := browser(t)
	root := t.TempDir()
	address, _ := serve(t, root, "127.0.0.1:0", "")
	if status, text := ask(t, "PUT", "http://"+address+"/api/run?run=load", "{}", "Content-Type", "application/json"); status != 200 {
		t.Fatal(text)
	}
	do(t, ctx, chromedp.Navigate("http://"+address+"/#/run/load"))
	const rate, batches, layers = 10_000, 5, 9
	offset, step, start := 0, 0, time.Now()
	var warm, slowest float64
	for batch := range *seconds * batches {
		var lines strings.Builder
		for range rate / batches / (layers + 1) {
			fmt.Fprintf(&lines, `{"v":1,"t":%d,"step":%d,"kind":"step","loss":%g}`+"\n", time.Now().Unix(), step, 1/float64(step+1))
			for l := range layers {
				fmt.Fprintf(&lines, `{"v":1,"t":%d,"step":%d,"kind":"layer","layer":"%d","parameters":100,"virial":%g,"gradient_norm2":%g}`+"\n", time.Now().Unix(), step, l, 1/float64(step+l+1), 0.25)
			}
			step++
		}
		sent := time.Now()
		answer, err := http.Post(fmt.Sprintf("http://%s/api/records?run=load&offset=%d", address, offset), jsonl, strings.NewReader(lines.String()))
		if err != nil {
			t.Fatal(err)
		}
		var d offsetDocument
		err = json.NewDecoder(answer.Body).Decode(&d)
		answer.Body.Close()
		if offset += lines.Len(); err != nil || int64(offset) != d.Offset {
			t.Fatalf("%d bytes were sent, %d are there: %s %v", offset, d.Offset, d.Detail, err)
		}
		slowest = max(slowest, time.Since(sent).Seconds())
		if batch == 5*batches {
			warm = heap()
		}
		time.Sleep(time.Until(start.Add(time.Duration(batch+1) * time.Second / batches)))
	}
	took := time.Since(start).Seconds()
	until(t, ctx, fmt.Sprintf(`document.body.innerText.includes('step %s')`, thousands(step-1)))
	t.Logf("%d records in %.1f s, the slowest batch %.0f ms; memory %.1f MiB after 5 s, %.1f MiB at the end", step*(layers+1), took, 1000*slowest, warm, heap())
	if grown := heap() - warm; grown > 20 {
		t.Errorf("the memory grew by %.1f MiB", grown)
	}
}

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// TestTenMillion opens a run of ten million records.
func TestTenMillion(t *testing.T) {
	if !*long {
		t.Skip("needs -long: a minute, and 2 GB of disk")
	}
	root := t.TempDir()
	r, err := run.Create(filepath.Join(root, "large"), nil)
	if err != nil {
		t.Fatal(err)
	}
	const layers, every = 9, 10_000
	var lines strings.Builder
	for step := range 1_000_000 {
		fmt.Fprintf(&lines, `{"v":1,"t":1,"step":%d,"kind":"step","loss":%.4f}`+"\n", step, 1/float64(step%1000+1))
		for l := range layers {
			fmt.Fprintf(&lines, `{"v":1,"t":1,"step":%d,"kind":"layer","layer":"%d","parameters":100,"virial":%.4f}`+"\n", step, l, float64(step%(l+7)))
		}
		if step%every == every-1 {
			if err := r.AppendLines([]byte(lines.String())); err != nil {
				t.Fatal(err)
			}
			lines.Reset()
		}
	}
	r.Close()
	ctx := browser(t)
	start := time.Now()
	address, _ := serve(t, root, "127.0.0.1:0", "")
	do(t, ctx, chromedp.Navigate("http://"+address+"/#/run/large"))
	until(t, ctx, `document.body.innerText.includes('Reading the records') || document.querySelectorAll('.uplot').length >= 2`)
	t.Logf("says that it reads, or shows it, after %.2f s", time.Since(start).Seconds())
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		if js[bool](t, ctx, `document.querySelectorAll('.uplot').length >= 2`) {
			break
		}
	}
	t.Logf("read for the first time and drawn after %.1f s", time.Since(start).Seconds())
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate("http://"+address+"/#/run/large"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2`)
	paint := js[float64](t, ctx, `performance.getEntriesByName('first-contentful-paint')[0].startTime`)
	t.Logf("opened again: first paint after %.0f ms, all drawn after %.0f ms; heap %.0f MiB", paint, js[float64](t, ctx, `performance.now()`), heap())
	began := time.Now()
	told[transitionsDocument](t, "http://"+address+"/api/transitions?run=large")
	t.Logf("its transitions are known %.1f s later", time.Since(began).Seconds())
}
