package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/gin-gonic/gin"
)

// claims is about what a signed access token says.
const claims = `{"iss":"http://127.0.0.1:8080","sub":"bench","aud":["bench"],"exp":1800000000,"iat":1799999700,"jti":"019aab6c-7f5e-7cc1-9c43-0f4f1b6d7a55","client_id":"bench","scope":"openid","tid":"019aab6c-7f5e-7cc1-9c43-0f4f1b6d7a56","tenant":"main","roles":["api"]}`

// serveRaw is `load raw`: gin with two handlers that do as little as a token
// endpoint and an introspection endpoint possibly can. It prints its address and
// ends with its standard input.
func serveRaw(ctx context.Context, stdout io.Writer) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.POST("/signature", func(c *gin.Context) {
		token, err := sign(key)
		if err != nil {
			c.Status(http.StatusInternalServerError)
			return
		}
		c.JSON(http.StatusOK, gin.H{"access_token": token, "token_type": "Bearer", "expires_in": 300})
	})
	engine.POST("/json", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"active": true, "sub": "bench", "client_id": "bench", "scope": "openid", "tenant": "main"})
	})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, listener.Addr()); err != nil {
		return err
	}
	server := &http.Server{Handler: engine, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started this is gone
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// sign makes a compact JWS with ES256 (RFC 7518 §3.4).
func sign(key *ecdsa.PrivateKey) (string, error) {
	const header = `{"alg":"ES256","kid":"1","typ":"at+jwt"}`
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// rawServer is the process of serveRaw.
type rawServer struct {
	address string
	process *exec.Cmd
	stdin   io.Closer
}

// startRaw starts this program a second time.
func startRaw(ctx context.Context) (*rawServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	process := exec.CommandContext(ctx, self, "raw") //nolint:gosec // this program
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := process.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the raw handlers did not start: %w", err), stdin.Close(), process.Wait())
	}
	return &rawServer{address: line[:len(line)-1], process: process, stdin: stdin}, nil
}

func (r *rawServer) stop() error { return errors.Join(r.stdin.Close(), r.process.Wait()) }

// requests is a measurement of one request to a path of the raw handlers.
func (r *rawServer) requests(name, path string, clients int) *measurement {
	sent := request(http.MethodPost, r.address, path, "")
	return &measurement{name: name, clients: clients, worker: func(int) (worker, error) {
		w := &wire{address: r.address}
		return func(ctx context.Context) (time.Duration, error) { return 0, w.expect(ctx, sent, http.StatusOK) }, nil
	}}
}

// signatures is a measurement of bare ES256 signatures on all processors.
func signatures(processors int) *measurement {
	return &measurement{name: "ES256 signatures", clients: processors, worker: func(int) (worker, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256([]byte(claims))
		return func(context.Context) (time.Duration, error) {
			_, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
			return 0, err
		}, nil
	}}
}

// expect sends a request and makes another status an error.
func (w *wire) expect(ctx context.Context, request []byte, status int) error {
	got, err := w.do(ctx, request)
	if err != nil {
		return err
	}
	if got != status {
		return fmt.Errorf("got %d, want %d: %.300s", got, status, w.body)
	}
	return nil
}
