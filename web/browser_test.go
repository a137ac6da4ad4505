package web

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/kelvin-ml/kelvin/run"
)

var shots = flag.String("shots", "", "save screenshots of the pages to this folder")

// browser starts Chromium and returns a context of one of its pages; it skips the
// test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	page := ctx
	t.Cleanup(func() { chromedp.Cancel(page) }) // waits until the browser has cleared up after itself
	ctx, cancel = context.WithTimeout(ctx, 5*time.Minute)
	t.Cleanup(cancel)
	do(t, ctx, chromedp.EmulateViewport(1200, 900))
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// js evaluates an expression in the page.
func js[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	x, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return x
}

// until waits for an expression to be true.
func until(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")")); err == nil && ok {
			return
		}
	}
	t.Fatalf("never true: %s\n%s", expression, js[string](t, ctx, "document.body.innerText"))
}

// shot saves a picture of the whole page.
func shot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	time.Sleep(200 * time.Millisecond) // what fades in
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// serve starts a server of a folder at an address (":0" takes a free port), and
// returns its address and what ends it.
func serve(t *testing.T, root, listen, token string) (address string, stop func()) {
	t.Helper()
	s, err := New(root, token)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

const dark = `window.matchMedia('(prefers-color-scheme: dark)').matches`

func TestPages(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	address, stop := serve(t, root, "127.0.0.1:0", "")
	home := "http://" + address + "/"

	// None.
	do(t, ctx, chromedp.Navigate(home))
	until(t, ctx, `document.body.innerText.includes('There are no runs here yet')`)
	shot(t, ctx, "empty")

	// One, which appears by itself, and grows while it is looked at.
	r := writeRun(t, filepath.Join(root, "digits", "tanh"), 2000)
	until(t, ctx, `document.querySelectorAll('tbody tr').length == 1`)
	until(t, ctx, `document.querySelector('tbody').innerText.includes('1,990')`)
	do(t, ctx, chromedp.Navigate(home+"#/run/digits%2Ftanh"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2 && document.querySelector('canvas[tabindex]') && document.body.innerText.includes('step 1,990')`)
	appendTo(t, r, 2000, 3000)
	until(t, ctx, `document.body.innerText.includes('step 2,990')`)
	until(t, ctx, `document.querySelector('canvas[tabindex]').getAttribute('aria-label').includes('to step 2990') || document.querySelector('canvas[tabindex]').getAttribute('aria-label').includes('to 2990')`)
	shot(t, ctx, "run")

	// A finding leads to its place.
	do(t, ctx, chromedp.Click(".findings a"))
	until(t, ctx, `location.hash.includes('from=')`)
	until(t, ctx, `document.body.innerText.includes('showing')`)
	link := js[string](t, ctx, "location.href")

	// The map is read by keyboard, and speaks.
	until(t, ctx, `document.querySelector('canvas[tabindex]')?.getAttribute('aria-label').includes('from step 8')`) // the closer look is there
	for spoken, deadline := false, time.Now().Add(time.Minute); !spoken; {
		if time.Now().After(deadline) {
			t.Fatal("the map does not speak")
		}
		js[bool](t, ctx, `document.querySelector('canvas[tabindex]')?.focus() || true`)
		do(t, ctx, chromedp.KeyEvent("\u0303"+"\u0301")) // right, and down
		time.Sleep(100 * time.Millisecond)
		spoken = js[bool](t, ctx, `document.querySelector('[aria-live]')?.innerText.includes('blocks.') ?? false`)
	}

	// The address is the whole state.
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(link))
	until(t, ctx, `document.body.innerText.includes('showing')`)

	// Dark, and on a phone, where nothing sticks out.
	call(t, ctx, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#/run/digits%2Ftanh"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2 && `+dark)
	if paper := js[string](t, ctx, `getComputedStyle(document.body).backgroundColor`); paper != "rgb(20, 24, 30)" {
		t.Errorf("the dark page is %s", paper)
	}
	shot(t, ctx, "run-dark")
	do(t, ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	until(t, ctx, `document.documentElement.scrollWidth <= 390`)
	shot(t, ctx, "run-phone")
	do(t, ctx, chromedp.EmulateViewport(1200, 900))
	call(t, ctx, emulation.SetEmulatedMediaParams{})

	// The server goes away, and comes back.
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#/run/digits%2Ftanh"))
	until(t, ctx, `document.querySelectorAll('.uplot').length >= 2`)
	stop()
	until(t, ctx, `document.body.innerText.includes('The server does not answer')`)
	appendTo(t, r, 3000, 3500)
	serve(t, root, address, "")
	until(t, ctx, `!document.body.innerText.includes('The server does not answer')`)
	until(t, ctx, `document.body.innerText.includes('step 3,490')`)

	// What is not there is said.
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#/run/nothing"))
	until(t, ctx, `document.querySelector('[role=alert]').innerText.includes('no such run')`)
	do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate(home+"#/elsewhere"))
	until(t, ctx, `document.body.innerText.includes('There is no such page')`)
}

func call(t *testing.T, ctx context.Context, media emulation.SetEmulatedMediaParams) {
	t.Helper()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		t.Fatal(err)
	}
}

func TestThousandRuns(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	for i := range 1000 {
		r, err := run.Create(filepath.Join(root, fmt.Sprintf("sweep-%d", i%10), fmt.Sprintf("seed-%d", i/10)), map[string]int{"seed": i})
		if err != nil {
			t.Fatal(err)
		}
		for step := int64(10); step <= 50; step += 10 {
			if err := r.Append(run.Record{Time: 1e9 + float64(i), Step: step, Kind: run.KindStep, Values: map[string]float64{"loss": 1 / float64(i+int(step))}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	address, _ := serve(t, root, "127.0.0.1:0", "")
	do(t, ctx, chromedp.Navigate("http://"+address+"/"))
	until(t, ctx, `document.body.innerText.includes('1,000 runs')`)
	paint := js[float64](t, ctx, `performance.now()`)
	t.Logf("the list of 1,000 runs is there %.0f ms after it was asked for", paint)
	shot(t, ctx, "thousand")

	// By keyboard alone: search, go down, choose two, compare.
	do(t, ctx, chromedp.KeyEvent("/"))
	until(t, ctx, `document.activeElement.type == 'search'`)
	js[bool](t, ctx, `document.activeElement.select() || true`) // the slash, which only a test can type
	do(t, ctx, chromedp.KeyEvent("sweep-3 seed-4"))
	until(t, ctx, `document.body.innerText.includes('11 of 1,000 runs')`)
	js[bool](t, ctx, `[...document.querySelectorAll('tbody input')].slice(0, 2).forEach((x) => x.click()) || true`)
	until(t, ctx, `document.querySelector('button.push').innerText == 'Compare 2'`)
	js[bool](t, ctx, `document.querySelector('button.push').focus() || true`)
	do(t, ctx, chromedp.KeyEvent("\r"))
	until(t, ctx, `document.body.innerText.includes('2 runs compared') && document.querySelectorAll('.uplot').length == 1`)
	shot(t, ctx, "compare")
}

func TestAccessibility(t *testing.T) {
	ctx := browser(t)
	root := t.TempDir()
	writeRun(t, filepath.Join(root, "a"), 2000)
	address, _ := serve(t, root, "127.0.0.1:0", "")
	for _, page := range []string{"#/", "#/run/a"} {
		do(t, ctx, chromedp.Navigate("about:blank"), chromedp.Navigate("http://"+address+"/"+page))
		until(t, ctx, `document.querySelector('tbody tr') && (location.hash == '#/' || document.querySelectorAll('.uplot').length >= 2)`)
		tree, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
		if err != nil {
			t.Fatal(err)
		}
		headings := 0
		for _, n := range tree.Nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			role := strings.Trim(string(n.Role.Value), `"`)
			name := ""
			if n.Name != nil {
				name = strings.Trim(string(n.Name.Value), `"`)
			}
			switch role {
			case "heading":
				headings++
			case "button", "link", "checkbox", "combobox", "searchbox", "image", "img", "textbox":
				if name == "" {
					t.Errorf("%s: a %s has no name", page, role)
				}
			}
		}
		if headings == 0 {
			t.Errorf("%s has no heading", page)
		}
	}
}
