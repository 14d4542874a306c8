<?php
// Publishes through Redis, without any code of Roomcast: a message on a channel
// of CHANNELS reaches the room of the same name.
declare(strict_types=1);

$url = parse_url(getenv('REDIS_URL') ?: 'redis://localhost:6379');
$redis = new Redis();
$redis->connect($url['host'], $url['port'] ?? 6379);
if (isset($url['pass'])) {
    $redis->auth([$url['user'] ?? '' ?: 'default', $url['pass']]);
}
$redis->publish('chat', 'hello from php');
