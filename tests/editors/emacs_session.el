;;; emacs_session.el --- One file in a real Emacs with Redraft, for tests  -*- lexical-binding: t -*-

;; Environment: REDRAFT_TEST, a JSON object {package, command, file, server}.

;; A home of its own has no compiled packages: do not compile them again in each test, nor warn of them.
(defvar native-comp-deferred-compilation)
(defvar native-comp-async-report-warnings-errors)
(setq native-comp-deferred-compilation nil
      native-comp-async-report-warnings-errors nil)

(let ((given (json-parse-string (getenv "REDRAFT_TEST") :object-type 'plist :array-type 'list)))
  (add-to-list 'load-path (plist-get given :package))
  (require 'redraft)
  (setq redraft-command (plist-get given :command)
        eglot-sync-connect t
        make-backup-files nil
        create-lockfiles nil)
  (defvar session-file (plist-get given :file)))
(transient-mark-mode 1) ; batch mode has it off
(setq text-quoting-style 'grave)

(defun session-open ()
  "Visit the file with Redraft on."
  (find-file session-file)
  (redraft-mode 1))

(defun session-select (words)
  "Select WORDS, where they stand first."
  (goto-char (point-min))
  (search-forward words)
  (set-mark (match-beginning 0))
  (activate-mark))

(defun session-wait (what seconds condition)
  "Wait until CONDITION returns non-nil; an error that names WHAT after SECONDS."
  (with-timeout (seconds (error "Not within %s s: %s" seconds what))
    (let (found)
      (while (not (setq found (funcall condition)))
        (accept-process-output nil 0.05))
      found)))

(defun session-words (form)
  "The calm message with which calling FORM ends.  Any other error goes through."
  (condition-case problem
      (progn (funcall form) (error "No message"))
    (user-error (error-message-string problem))))

(defun session-text ()
  "The text of this buffer."
  (buffer-substring-no-properties (point-min) (point-max)))

(defun session-watch-displays ()
  "Remember what is displayed from now on.
Return a function that finds the text of a buffer by a part of its name."
  (let (shown)
    (advice-add 'display-buffer :before
                (lambda (buffer &rest _)
                  (push (cons (buffer-name buffer) (with-current-buffer buffer (session-text))) shown)))
    (lambda (name) (cdr (seq-find (lambda (entry) (string-match-p name (car entry))) shown)))))

(defun session-edit ()
  "Write another word over the next one."
  (skip-chars-forward " \t\n")
  (delete-region (point) (progn (skip-chars-forward "^ \t\n") (point)))
  (insert "Well"))

(defun session-close ()
  "Kill the buffer; wait until the server wrote down what that settles.  Return its last status."
  (let ((server (eglot-current-server)))
    (set-buffer-modified-p nil)
    (kill-buffer)
    (prog1 (jsonrpc-request server :workspace/executeCommand '(:command "redraft.status" :arguments []) :timeout 30)
      (eglot-shutdown server nil 20))))

(defun session-recording ()
  "Whether the server says that it records here."
  (plist-get (redraft--call "redraft.status") :recording))

(defun session-say (&rest facts)
  "End the servers, then print FACTS, a plist, for the test that waits for them."
  (dolist (buffer (buffer-list)) (with-current-buffer buffer (set-buffer-modified-p nil)))
  (eglot-shutdown-all)
  (princ (concat "\nSAID " (json-serialize facts :false-object :json-false) "\n")))
