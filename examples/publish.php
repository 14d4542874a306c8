<?php
// Publishes a message over HTTP: php publish.php [message]
declare(strict_types=1);

const TRIES = 10;
/** Statuses after which the same request may succeed; 0 is no response. */
const RETRYABLE = [0, 429, 502, 503, 504];

/** Publishes a message once, however many tries it takes: all of them have the same idempotency key. */
function publish(string $room, mixed $message): array
{
    $url = getenv('ROOMCAST_URL') ?: 'http://localhost:4000';
    $headers = ['Content-Type: application/json', 'Idempotency-Key: ' . bin2hex(random_bytes(16))];
    if ($secret = getenv('ROOMCAST_KEY')) {
        $headers[] = "Authorization: Bearer $secret";
    }
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => $headers,
        'content' => json_encode(['room' => $room, 'message' => $message], JSON_THROW_ON_ERROR),
        'timeout' => 10,
        // A response with an error is read, too.
        'ignore_errors' => true,
    ]]);
    for ($left = TRIES - 1;; $left--) {
        [$status, $seconds, $body] = [0, 1, 'there is no response'];
        if ($stream = @fopen("$url/publish", 'r', false, $context)) {
            foreach (stream_get_meta_data($stream)['wrapper_data'] as $line) {
                if (preg_match('~^HTTP/\S+ (\d+)~', $line, $match)) {
                    $status = (int) $match[1];
                } elseif (preg_match('~^Retry-After: *(\d+)~i', $line, $match)) {
                    $seconds = (int) $match[1];
                }
            }
            $body = stream_get_contents($stream);
        }
        if ($status === 200) {
            return json_decode($body, true, flags: JSON_THROW_ON_ERROR);
        }
        if ($left === 0 || !in_array($status, RETRYABLE, true)) {
            throw new RuntimeException("Cannot publish: $body");
        }
        sleep($seconds);
    }
}

$answer = publish('chat', ['text' => $argv[1] ?? 'hello', 'from' => 'php']);
echo json_encode($answer), "\n";
