// Publishes a message over HTTP: go run publish.go [message]
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

const tries = 10

var client = &http.Client{Timeout: 10 * time.Second}

// publish publishes a message once, however many tries it takes: all of them
// have the same idempotency key.
func publish(room string, message any) (string, error) {
	body, err := json.Marshal(map[string]any{"room": room, "message": message})
	if err != nil {
		return "", err
	}
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return "", err
	}
	for left := tries - 1; ; left-- {
		answer, retry, err := send(body, hex.EncodeToString(key))
		if err == nil || retry == 0 || left == 0 {
			return answer, err
		}
		time.Sleep(retry)
	}
}

// send sends one request. If it fails, retry is when the same request may
// succeed, or 0 if it never will.
func send(body []byte, key string) (answer string, retry time.Duration, err error) {
	url := os.Getenv("ROOMCAST_URL")
	if url == "" {
		url = "http://localhost:4000"
	}
	request, err := http.NewRequest("POST", url+"/publish", bytes.NewReader(body))
	if err != nil {
		return "", 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	if secret := os.Getenv("ROOMCAST_KEY"); secret != "" {
		request.Header.Set("Authorization", "Bearer "+secret)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", time.Second, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", time.Second, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return string(text), 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		retry = time.Second
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
			retry = time.Duration(seconds) * time.Second
		}
	}
	return "", retry, errors.New(string(text))
}

func main() {
	text := "hello"
	if len(os.Args) > 1 {
		text = os.Args[1]
	}
	answer, err := publish("chat", map[string]string{"text": text, "from": "go"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}
