package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// cookie keeps the token of a browser.
const cookie = "kelvin_token"

// policy allows the pages what they need: their own files, and no frame around them.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard lets through requests that may be answered: of a browser's page only
// those of this server's own, and with the token, or, when there is none, to a
// name of this machine (a page elsewhere can point a name of its own here).
func (s *Server) guard(next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusForbidden, "expected a request of a page of this server: this one comes from another origin")
	}))
	checked := origin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w = &oneStatus{ResponseWriter: w}
		if r.ContentLength != 0 { // of what has no body the connection is to stay open
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.bodyTime))
		}
		s.count.requests.Add(1)
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if strings.HasPrefix(r.URL.Path, "/api/") {
			h.Set("Cache-Control", "no-store")
		}
		if s.token == "" {
			if !local(r.Host) {
				answer(w, http.StatusMisdirectedRequest, "expected a request to localhost: start the server with a token to reach it by another name")
				return
			}
			checked.ServeHTTP(w, r)
			return
		}
		if given := r.URL.Query().Get("token"); given != "" && r.Method == http.MethodGet && same(given, s.token) {
			// Out of the address, where it would stay in histories.
			http.SetCookie(w, &http.Cookie{Name: cookie, Value: url.QueryEscape(given), Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
			h.Set("Location", "/")
			w.WriteHeader(http.StatusSeeOther)
			return
		}
		if !s.allowed(r) {
			h.Set("WWW-Authenticate", `Bearer realm="kelvin"`)
			if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
				h.Set("Content-Security-Policy", strings.Replace(policy, "form-action 'none'", "form-action 'self'", 1))
				h.Set("Content-Type", "text/html; charset=utf-8")
				w.WriteHeader(http.StatusUnauthorized)
				page := entrance
				if r.URL.Query().Has("token") {
					page = strings.Replace(page, "<form", `<p role="alert"><b>This is not the token.</b></p>`+"\n<form", 1)
				}
				io.WriteString(w, page)
				return
			}
			answer(w, http.StatusUnauthorized, "expected the token: open /?token=… once in a browser, or send it as Authorization: Bearer …")
			return
		}
		checked.ServeHTTP(w, r)
	})
}

// entrance is what a browser gets that does not bring the token. A form escapes it.
const entrance = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>kelvin: token</title>
<style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem}input,button{font:inherit}input{width:100%;box-sizing:border-box;margin:.5rem 0}</style>
<h1>kelvin needs its token</h1>
<p>kelvin serve drew one and printed it when it started: open the address of that line, or copy what follows <code>token=</code> in it.
If the server was started with the environment variable <code>KELVIN_TOKEN</code>, that is the token.
One that was drawn ends with the server.</p>
<form action="/" method="get"><label>Token <input name="token" type="password" autocomplete="current-password" required autofocus></label><button>Open</button></form>
</html>
`

// Slots bound how many requests do at one time what takes memory.
type slots chan struct{}

// enter takes a slot, which is free again after leave.
func (s slots) enter(ctx context.Context) (leave func(), err error) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(5 * time.Second):
		return nil, huma.Error503ServiceUnavailable(fmt.Sprintf("%d requests of this kind are being answered: ask again", cap(s)))
	}
}

// A oneStatus keeps the first status: huma gives a second one where the client has
// gone away in the middle of an answer.
type oneStatus struct {
	http.ResponseWriter
	given bool
}

func (w *oneStatus) WriteHeader(status int) {
	if !w.given {
		w.given = true
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *oneStatus) Write(p []byte) (int, error) {
	w.given = true // 200, if none was
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *oneStatus) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// allowed reports whether a request brings the token.
func (s *Server) allowed(r *http.Request) bool {
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return same(bearer, s.token)
	}
	c, err := r.Cookie(cookie)
	return err == nil && same(c.Value, url.QueryEscape(s.token))
}

// same compares in a time that depends on neither.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// local reports whether a host, with or without a port, is this machine.
func local(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") || err == nil && address.IsLoopback()
}
