<?php
// SPDX-License-Identifier: Apache-2.0
// A PHP page: what PHP was given, and what a form sent; with ?as=text for programs to read,
// and &sleep=MS to take its time. With a file named by NOTES in PHP's environment, each request adds
// process id and query string to that.

$names = ['SCRIPT_FILENAME', 'SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REQUEST_METHOD',
          'REQUEST_URI', 'PHP_SELF', 'DOCUMENT_ROOT', 'SERVER_SOFTWARE'];
$given = array_intersect_key($_SERVER, array_flip($names));

if (getenv('NOTES') !== false) {
    file_put_contents(getenv('NOTES'), getmypid() . " {$_SERVER['QUERY_STRING']}\n", FILE_APPEND);
}
if (($_GET['as'] ?? '') === 'text') {
    usleep(1000 * (int) ($_GET['sleep'] ?? 0));
    header('Content-Type: text/plain');
    foreach ($given as $name => $value) {
        echo "$name=$value\n";
    }
    $body = file_get_contents('php://input');
    printf("\nlanguage=php %s\npid=%d\nbody_bytes=%d\nbody_crc32=%s\n",
        PHP_VERSION, getmypid(), strlen($body), hash('crc32b', $body));
    exit;
}
$text = $_POST['text'] ?? '';
?>
<!doctype html>
<title>PHP</title>
<h1>PHP <?= PHP_VERSION ?></h1>
<p>Process <?= getmypid() ?>.</p>
<form method="post">
  <label>Some text <input name="text" value="<?= htmlspecialchars($text) ?>"></label>
  <button>Turn round</button>
</form>
<p><?= htmlspecialchars(implode(array_reverse(characters($text)))) ?></p>
<table>
<?php foreach ($given as $name => $value): ?>
  <tr><th><?= $name ?><td><?= htmlspecialchars($value) ?>
<?php endforeach ?>
</table>
<p><a href="/">all programs</a></p>
<?php
function characters(string $text): array
{
    return preg_split('//u', $text, -1, PREG_SPLIT_NO_EMPTY) ?: str_split($text);
}
