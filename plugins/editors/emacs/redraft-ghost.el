;;; redraft-ghost.el --- Text offered at the cursor  -*- lexical-binding: t -*-

;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; Eglot knows no inline completion, so this asks for it: when Emacs has been
;; idle for a moment after a change.  What is offered stands behind the cursor
;; in grey, is no part of the buffer, and stays while its beginning is typed.
;; Part of the package `redraft'; see redraft.el.

;;; Code:

(require 'redraft-client)

(defcustom redraft-ghost-idle 0.1
  "Seconds without a key until the server is asked.
The server itself waits for a pause in your typing
\(`redraft-ghost-debounce-ms')."
  :type 'number
  :group 'redraft)

(defface redraft-ghost '((t :inherit shadow))
  "How offered text looks."
  :group 'redraft)

(cl-defstruct redraft--ghost
  "An offered text."
  (item nil :documentation "As the server answered it.")
  (begin nil :documentation "A marker where `insertText' begins.")
  (rest nil :documentation "What of it is not typed yet.")
  (after 0 :documentation "How many characters behind the cursor it takes the place of.")
  (overlay nil :documentation "What shows it."))

(defvar-local redraft--ghost nil "The text offered in this buffer, or nil.")
(defvar-local redraft--ghost-keys nil "Non-nil while the keys for offered text work.")
(defvar-local redraft--ghost-tick nil "`buffer-chars-modified-tick' when the server was last asked.")
(defvar-local redraft--ghost-timer nil "The timer that will ask.")

(defvar redraft-ghost-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "TAB") #'redraft-accept)
    (define-key map (kbd "<tab>") #'redraft-accept)
    (define-key map (kbd "M-f") #'redraft-accept-word)
    (define-key map (kbd "C-<right>") #'redraft-accept-word)
    (define-key map (kbd "C-g") #'redraft-dismiss)
    map)
  "Keys that work while text is offered.")

(defvar redraft--emulation (list (cons 'redraft--ghost-keys redraft-ghost-map))
  "For `emulation-mode-map-alists'.")

;;; Showing

(defun redraft--ghost-hide ()
  "Take away what is offered, without a word to the server."
  (when redraft--ghost
    (delete-overlay (redraft--ghost-overlay redraft--ghost))
    (set-marker (redraft--ghost-begin redraft--ghost) nil))
  (setq redraft--ghost nil
        redraft--ghost-keys nil))

(defun redraft--ghost-draw ()
  "Show at the cursor what is not typed yet."
  (let ((words (propertize (redraft--ghost-rest redraft--ghost) 'face 'redraft-ghost)))
    (put-text-property 0 1 'cursor t words) ; the cursor stands before it
    (move-overlay (redraft--ghost-overlay redraft--ghost) (point) (point))
    (overlay-put (redraft--ghost-overlay redraft--ghost) 'after-string words)))

(defun redraft--ghost-show (item)
  "Offer ITEM, an answer of the server, at the cursor.
Return nil if it does not fit there."
  (redraft--ghost-hide)
  (let* ((range (plist-get item :range))
         (begin (if range (eglot--lsp-position-to-point (plist-get range :start)) (point)))
         (end (if range (eglot--lsp-position-to-point (plist-get range :end)) (point)))
         (typed (buffer-substring-no-properties (min begin (point)) (point)))
         (text (plist-get item :insertText)))
    (when (and (<= begin (point)) (>= end (point))
               (string-prefix-p typed text) (> (length text) (length typed)))
      (setq redraft--ghost (make-redraft--ghost :item item
                                                :begin (copy-marker begin)
                                                :rest (substring text (length typed))
                                                :after (- end (point))
                                                :overlay (make-overlay (point) (point)))
            redraft--ghost-keys t)
      (redraft--ghost-draw)
      t)))

(defun redraft--ghost-follow ()
  "Keep what is offered in step with the cursor.
It gets shorter when its beginning is typed, else it goes."
  (when redraft--ghost
    (let* ((begin (marker-position (redraft--ghost-begin redraft--ghost)))
           (text (plist-get (redraft--ghost-item redraft--ghost) :insertText))
           (typed (and (<= (point-min) begin (point)) (buffer-substring-no-properties begin (point)))))
      (if (and typed (string-prefix-p typed text) (> (length text) (length typed)))
          (progn (setf (redraft--ghost-rest redraft--ghost) (substring text (length typed)))
                 (redraft--ghost-draw))
        (redraft--ghost-hide)))))

;;; Asking

(defun redraft--ghost-place ()
  "What must not change between question and answer."
  (list (current-buffer) (point) (buffer-chars-modified-tick)))

(defun redraft--ghost-ask (kind)
  "Ask for a text at the cursor; KIND is 1 by hand, 2 by itself."
  (let ((place (redraft--ghost-place))
        (server (redraft--server)))
    (redraft--flush)
    (setq redraft--ghost-tick (buffer-chars-modified-tick))
    (redraft--send
     server :textDocument/inlineCompletion
     (append (eglot--TextDocumentPositionParams) (list :context (list :triggerKind kind)))
     (lambda (answer) (redraft--ghost-answered server place answer kind))
     (if (= kind 1)
         (lambda (words) (message "Redraft: %s" words))
       #'ignore)))) ; nobody asked; M-x redraft-why tells

(defun redraft--ghost-answered (server place answer kind)
  "Show ANSWER of SERVER if the buffer is still at PLACE.  KIND as it was asked."
  (when (buffer-live-p (car place))
    (with-current-buffer (car place)
      (when (equal place (redraft--ghost-place))
        (let* ((items (if (vectorp answer) answer (plist-get answer :items)))
               (item (and (> (length items) 0) (elt items 0))))
          (cond ((and item (redraft--ghost-show item))
                 (jsonrpc-notify server :textDocument/didShowCompletion (list :item item)))
                ((= kind 1) (message "Redraft: nothing to offer here; M-x redraft-why says why"))))))))

(defun redraft--ghost-idle (buffer)
  "Ask for BUFFER if it is still the one that is edited."
  (when (and (buffer-live-p buffer) (eq buffer (window-buffer (selected-window))))
    (with-current-buffer buffer
      (when (and (redraft--ours) (not (minibufferp)) (not buffer-read-only) (not (use-region-p))
                 (redraft--fitting-p (redraft--server-version (redraft--ours)))
                 (not (equal redraft--ghost-tick (buffer-chars-modified-tick))))
        (redraft--ghost-ask 2)))))

(defun redraft--ghost-after-command ()
  "Follow the cursor; ask soon if the text changed."
  (redraft--ghost-follow)
  (unless (equal redraft--ghost-tick (buffer-chars-modified-tick))
    (when (timerp redraft--ghost-timer) (cancel-timer redraft--ghost-timer))
    (setq redraft--ghost-timer
          (run-with-idle-timer redraft-ghost-idle nil #'redraft--ghost-idle (current-buffer)))))

;;; Commands

;;;###autoload
(defun redraft-complete ()
  "Ask for a text at the cursor now."
  (interactive "*")
  (redraft--ghost-ask 1))

(defun redraft--ghost-or-lose ()
  "What is offered here, or a calm error."
  (or redraft--ghost
      (user-error "Redraft: nothing is offered here; M-x redraft-complete asks for something")))

(defun redraft--ghost-insert (count)
  "Insert COUNT characters of what is offered, as if they were typed."
  (let ((rest (redraft--ghost-rest redraft--ghost)))
    (when (= count (length rest))
      (delete-region (point) (min (point-max) (+ (point) (redraft--ghost-after redraft--ghost)))))
    (insert (substring rest 0 count))
    (redraft--flush)))

;;;###autoload
(defun redraft-accept ()
  "Put in all that is offered."
  (interactive "*")
  (let* ((ghost (redraft--ghost-or-lose))
         (command (plist-get (redraft--ghost-item ghost) :command)))
    (redraft--ghost-insert (length (redraft--ghost-rest ghost)))
    (redraft--ghost-hide)
    (when command
      (redraft--send (redraft--server) :workspace/executeCommand
                     (list :command (plist-get command :command) :arguments (plist-get command :arguments))
                     #'ignore #'ignore))))

;;;###autoload
(defun redraft-accept-word ()
  "Put in the next word of what is offered."
  (interactive "*")
  (let ((rest (redraft--ghost-rest (redraft--ghost-or-lose))))
    (string-match "\\`[ \t\n]*[^ \t\n]*" rest)
    (if (= (match-end 0) (length rest))
        (redraft-accept)
      (redraft--ghost-insert (match-end 0))
      (redraft--ghost-follow))))

;;;###autoload
(defun redraft-dismiss ()
  "Decline what is offered."
  (interactive)
  (let* ((item (redraft--ghost-item (redraft--ghost-or-lose)))
         (arguments (plist-get (plist-get item :command) :arguments)))
    (redraft--ghost-hide)
    (when (> (length arguments) 0)
      (redraft--send (redraft--server) :workspace/executeCommand
                     (list :command "redraft.reject"
                           :arguments (vector (list :offerId (plist-get (elt arguments 0) :offerId))))
                     #'ignore #'ignore))))

(defun redraft--ghost-on ()
  "Offer text in this buffer."
  (when redraft-ghost-text
    (add-to-list 'emulation-mode-map-alists 'redraft--emulation)
    (setq redraft--ghost-tick (buffer-chars-modified-tick)) ; nothing before the first change
    (add-hook 'post-command-hook #'redraft--ghost-after-command nil t)))

(defun redraft--ghost-off ()
  "Offer no text in this buffer any more."
  (remove-hook 'post-command-hook #'redraft--ghost-after-command t)
  (when (timerp redraft--ghost-timer) (cancel-timer redraft--ghost-timer))
  (redraft--ghost-hide))

(provide 'redraft-ghost)
;;; redraft-ghost.el ends here
